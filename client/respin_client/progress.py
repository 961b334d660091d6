"""A stream's events as bars on a terminal."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from respin_client.results import Event


class StageBars:
    """One bar for each stage, and for each view where a stage works on one at a time.

    Args:
        console: to draw on; nothing is drawn where it is no terminal.
        quiet: draw nothing at all.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            console=console,
            # Lines for a pipe stay with the pipe.
            redirect_stdout=sys.stdout.isatty(),
            disable=quiet or not console.is_terminal,
        )
        self._tasks: dict[tuple[str, int | None], TaskID] = {}

    def __enter__(self) -> StageBars:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bars as they stand."""
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Draw what an event says."""
        if event.stage == "done":
            for task in self._tasks.values():
                self._progress.update(task, total=1, completed=1)
            return
        key = (event.stage, event.view)
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(_name(event), total=None, count="")
        if event.steps:
            count = f"{event.step} of {event.steps} steps"
            self._progress.update(self._tasks[key], total=event.steps, completed=event.step, count=count)


def _name(event: Event) -> str:
    stage = event.stage.replace("_", " ")
    return stage if event.view is None else f"{stage}, view {event.view}"
