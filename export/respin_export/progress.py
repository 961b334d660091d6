"""Show the progress of commands: bars, and a line for what is done."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from respin_export.export_set import STAGES, UpToDate
from respin_export.isolated import TaskDone, TaskEvent, TaskFailed, TaskProgress
from respin_export.tensorrt.builder import ReportPhase


class _Amount(ProgressColumn):
    """Bytes and their rate for a file, a count for everything that names its `unit`."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes, self._rate = DownloadColumn(), TransferSpeedColumn()

    def render(self, task: Task) -> Text:
        """Return the amount of a task that is done, in words."""
        if "unit" not in task.fields:
            return Text.assemble(self._bytes.render(task), " ", self._rate.render(task))
        total = "" if task.total is None else f" of {task.total:.0f}"
        return Text(f"{task.completed:.0f}{total} {task.fields['unit']}", style="progress.download")


def bars(console: Console | None = None, *, disable: bool = False) -> Progress:
    """Return the bars of a command.

    Args:
        console: where they are shown; None = standard error.
        disable: show nothing.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), _Amount(), TimeElapsedColumn())
    return Progress(*columns, console=console or Console(stderr=True), disable=disable)


def engine_bar(progress: Progress, network: str) -> ReportPhase:
    """Add a bar for an engine plan, and return the callback that moves it."""
    task = progress.add_task(network, total=None, unit="")
    return lambda phase, done, total: progress.update(
        task, description=f"{network}: {phase}", completed=done, total=total
    )


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
