"""Progress bars on a terminal, from the events of a stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from respin.request import RotationRequest
from respin_client.results import RotationEvent

FINISHING = "enlarge, outline, compose"
"""What happens to each view after its last step. A stream reports when it begins and ends, and nothing between."""

_SILENCE_S = 1.0
"""Shortest silence from which the end of the steps is inferred: a server may leave out the event of the last one."""


class StageBars:
    """Progress bars: one for each stage, all full at the end of the stream.

    While they are drawn, standard output is held back if it is a terminal too, and printed below them at the end.

    Args:
        console: console to draw on; nothing is drawn unless it is a terminal.
        request: the request whose stream is shown; steps are counted as it asks for them.
        quiet: draw nothing at all.
        clock: monotonic clock, seconds.
    """

    def __init__(
        self,
        console: Console,
        request: RotationRequest,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_drawing = console.is_terminal and not quiet
        self._views, self._clock = request.views, clock
        # UNet calls are counted as the request's steps: DDIM on Zero123's own time steps has 76 calls for 75 steps.
        self._units = {
            "detection": (1, ""),
            "segmentation": (1, ""),
            "background": (request.background_steps, "steps"),
            "novel_view": (request.steps * request.views, "steps"),
            FINISHING: (request.views, "views"),
        }
        self._begun: set[str] = set()
        self._finished: set[int] = set()
        self._paces: dict[str, _Pace] = {}
        self._exits = ExitStack()
        self._progress = _Bars(console, self._infer_last_step, disable=not self._is_drawing)
        self._tasks = {
            stage: self._progress.add_task(stage.replace("_", " "), start=False, total=None, visible=False, count="")
            for stage in self._units
        }

    def __enter__(self) -> StageBars:
        """Start drawing."""
        if self._is_drawing and sys.stdout.isatty():
            held = StringIO()
            # Run in reverse order: standard output is itself again before the text is printed.
            self._exits.callback(lambda: print(held.getvalue(), end="", flush=True))
            self._exits.enter_context(redirect_stdout(held))
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing, and print what was held back. The bars stay on the screen unless the job failed."""
        self._progress.live.transient = kind is not None
        self._progress.stop()
        self._exits.close()

    def show(self, event: RotationEvent) -> None:
        """Draw an event."""
        if event.stage == "done":
            self._fill(*self._begun)
        elif self._views and (event.image is not None or event.novel_view is not None):
            self._finished.add(event.view or 0)
            self._show_finished()
        elif event.stage == "super_resolution":
            self._show_finished()
        elif event.stage in self._tasks:
            self._show_stage(event)

    def _show_stage(self, event: RotationEvent) -> None:
        self._begin(event.stage)
        stages = list(self._units)
        # Background and novel views run at the same time; each of the stages before them ends before the next begins.
        self._fill(*[stage for stage in stages[: min(stages.index(event.stage), 2)] if stage in self._begun])
        if event.background is not None:
            self._fill("background")
        elif event.steps:
            total, _ = self._units[event.stage]
            done = event.step * total // event.steps
            now_s = self._clock()
            self._paces.setdefault(event.stage, _Pace(total, done, now_s)).add(done, now_s)
            self._count(event.stage, done)
            if event.stage == "novel_view" and done == total:
                self._begin(FINISHING)

    def _show_finished(self) -> None:
        """Show how many views are finished. Of a single view only the end is reported: its bar has no length before."""
        self._begin(FINISHING)
        if self._views > 1:
            self._count(FINISHING, len(self._finished))
        if len(self._finished) == self._views:
            self._fill("background", "novel_view", FINISHING)

    def _infer_last_step(self) -> None:
        """Show that the views are being finished if the events of the last steps do not come."""
        now_s, paces = self._clock(), self._paces
        if FINISHING not in self._begun and "novel_view" in paces and all(p.is_over(now_s) for p in paces.values()):
            self._begin(FINISHING)

    def _begin(self, stage: str) -> None:
        if stage not in self._begun:
            self._begun.add(stage)
            self._progress.start_task(self._tasks[stage])
            self._progress.update(self._tasks[stage], visible=True)

    def _count(self, stage: str, done: int) -> None:
        total, unit = self._units[stage]
        self._progress.update(self._tasks[stage], total=total, completed=done, count=f"{done} of {total} {unit}")

    def _fill(self, *stages: str) -> None:
        for stage in stages:
            total, _ = self._units[stage]
            if stage in self._paces or (stage == FINISHING and total > 1):
                self._count(stage, total)
            else:
                self._progress.update(self._tasks[stage], total=1, completed=1)


@dataclass
class _Pace:
    """How fast the steps of a stage are: its total, and the first and the newest event."""

    total: int
    first: int
    first_s: float
    newest: int = field(init=False)
    newest_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.newest, self.newest_s = self.first, self.first_s

    def add(self, done: int, now_s: float) -> None:
        self.newest, self.newest_s = done, now_s

    def is_over(self, now_s: float) -> bool:
        """Return whether the remaining steps would have been reported by now, at a third of the pace so far."""
        if self.newest == self.total:
            return True
        if self.newest <= self.first:
            return False
        step_s = (self.newest_s - self.first_s) / (self.newest - self.first)
        return now_s - self.newest_s > max(_SILENCE_S, 3 * step_s * (self.total - self.newest))


class _Bars(Progress):
    """Progress bars that call `before_drawing` each time they are drawn."""

    def __init__(self, console: Console, before_drawing: Callable[[], None], *, disable: bool) -> None:
        self._before_drawing = before_drawing
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            console=console,
            redirect_stdout=False,
            disable=disable,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is drawn."""
        self._before_drawing()
        return super().get_renderables()
