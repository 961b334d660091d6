"""Show the export of a set: one bar for all networks, and a line for each that is done."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import Progress

from respin.errors import InvalidInput
from respin_export.errors import ExportMismatch
from respin_export.export_set import STAGES, UpToDate
from respin_export.isolated import TaskDone, TaskEvent, TaskFailed, TaskProgress


class ExportBar:
    """One bar for all networks, which moves with each stage, and a line for each network that is done.

    Args:
        progress: where the bar is shown.
        networks: names of the networks.
    """

    def __init__(self, progress: Progress, networks: Sequence[str]) -> None:
        self.progress = progress
        self.task = progress.add_task("export", total=len(networks) * len(STAGES), unit="stages")
        self.stages = dict.fromkeys(networks, 0)

    def follow(self, event: TaskEvent | UpToDate) -> None:
        """Show an event."""
        if isinstance(event, TaskProgress):
            self.stages[event.name] = STAGES.index(event.stage)
            self.progress.update(self.task, description=f"{event.name}: {event.stage}")
        else:
            self.stages[event.name] = len(STAGES)
            self.progress.console.print(_line(event), highlight=False)
        self.progress.update(self.task, completed=sum(self.stages.values()))


def _line(event: TaskDone | TaskFailed | UpToDate) -> str:
    if isinstance(event, UpToDate):
        return f"{event.name}: up to date"
    if isinstance(event, TaskFailed):
        return f"{event.name}: not exported"
    errors = ", ".join(f"{output} {error:.1e}" for output, error in event.result.parity.items())
    note = f"; {event.result.note}" if event.result.note else ""
    return f"{event.name}: {event.wall_s:.0f} s, {event.peak_rss_mib} MiB; errors: {errors}{note}"


def check_exported(failed: Sequence[TaskFailed], count: int) -> None:
    """Check that every network was exported.

    Args:
        failed: networks that were not, from `respin_export.export_set.export_set`.
        count: number of networks that were to be exported.

    Raises:
        InvalidInput: some were not, because of what the caller gave.
        ExportMismatch: some were not, for another reason.
    """
    if not failed:
        return
    reasons = "\n  ".join(f"{each.name}: {each.error}" for each in failed)
    error = InvalidInput if all(isinstance(each.error, InvalidInput) for each in failed) else ExportMismatch
    raise error(f"{len(failed)} of {count} networks were not exported, the others are in place:\n  {reasons}")
