"""Progress bars on a terminal, from the events of a stream."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from respin_client.results import RotationEvent


class StageBars:
    """Progress bars: one for each stage, and one for the finished views if there are several.

    Args:
        console: console to draw on; nothing is drawn unless it is a terminal.
        views: number of views; 0 = segmentation only.
        quiet: draw nothing at all.
    """

    def __init__(self, console: Console, *, views: int = 1, quiet: bool = False) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            console=console,
            # Output to a pipe is not redirected.
            redirect_stdout=sys.stdout.isatty(),
            disable=quiet or not console.is_terminal,
        )
        self._views = views
        self._tasks: dict[str, TaskID] = {}
        # Steps done of every view, for each stage that works view by view.
        self._steps: dict[str, dict[int, int]] = {}

    def __enter__(self) -> StageBars:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing; the bars stay on the screen."""
        self._progress.stop()

    def show(self, event: RotationEvent) -> None:
        """Draw an event."""
        if event.stage == "done":
            for task in self._tasks.values():
                self._progress.update(task, total=1, completed=1)
            return
        is_view = event.image is not None or event.novel_view is not None
        stage = "views done" if is_view else event.stage.replace("_", " ")
        if is_view and self._views < 2:
            return
        task = self._task(stage)
        if event.view is None:
            self._fill(task, event.step, event.steps, "steps")
            return
        steps = self._steps.setdefault(stage, {})
        steps[event.view] = event.step
        if event.steps:
            self._fill(task, sum(steps.values()), event.steps * self._views, "steps")
        elif self._views > 1:
            self._fill(task, len(steps), self._views, "views")

    def _task(self, stage: str) -> TaskID:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=None, count="")
        return self._tasks[stage]

    def _fill(self, task: TaskID, done: int, total: int, unit: str) -> None:
        if total:
            self._progress.update(task, total=total, completed=done, count=f"{done} of {total} {unit}")
