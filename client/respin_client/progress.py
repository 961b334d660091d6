"""Progress bars on a terminal, from the events of a stream."""

from __future__ import annotations

import sys
from contextlib import ExitStack, redirect_stdout
from io import StringIO
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from respin.request import RotationRequest
from respin_client.results import RotationEvent

_FINISHING = ("super_resolution", "outline", "composition")
"""Stages that each view passes through after its last step, in this order."""


class StageBars:
    """Progress bars: one for each stage, all full at the end of the stream.

    While they are drawn, standard output is held back if it is a terminal too, and printed below them at the end: the
    files that were written come last.

    Args:
        console: console to draw on; nothing is drawn unless it is a terminal.
        request: the request whose stream is shown; steps are counted as it asks for them.
        quiet: draw nothing at all.
    """

    def __init__(self, console: Console, request: RotationRequest, *, quiet: bool = False) -> None:
        self._is_drawing = console.is_terminal and not quiet
        # UNet calls are counted as the request's steps: DDIM on Zero123's own time steps has 76 calls for 75 steps.
        self._units = {
            "detection": (1, ""),
            "segmentation": (1, ""),
            "background": (request.background_steps, "steps"),
            "novel_view": (request.steps * request.views, "steps"),
            **dict.fromkeys(_FINISHING, (request.views, "views")),
        }
        self._begun: set[str] = set()
        self._counted: set[str] = set()
        self._finished: dict[str, int] = dict.fromkeys(_FINISHING, 0)
        self._exits = ExitStack()
        self._held_notes: list[str] | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            console=console,
            redirect_stdout=False,
            disable=not self._is_drawing,
        )
        self._tasks = {
            stage: self._progress.add_task(stage.replace("_", " "), start=False, total=None, visible=False, count="")
            for stage in self._units
        }

    def __enter__(self) -> StageBars:
        """Start drawing."""
        if self._is_drawing and sys.stdout.isatty():
            held, notes = StringIO(), list[str]()
            self._held_notes = notes
            # Run in reverse order: standard output is itself again before the text is printed.
            self._exits.callback(lambda: print(*notes, held.getvalue(), sep="\n", end="", flush=True))
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

    def print_note(self, note: str) -> None:
        """Print a line about the job: before all that is held back, or now if nothing is."""
        if self._held_notes is None:
            print(note)
        else:
            self._held_notes.append(note)

    def show(self, event: RotationEvent) -> None:
        """Draw an event."""
        if event.stage == "done":
            self._fill(*self._begun)
        elif event.view is None:
            self._show_stage(event)
        elif event.stage in _FINISHING:
            self._begin(event.stage)
            if event.stage == "composition":
                self._fill("background")
            if event.stage != _FINISHING[0]:
                self._finish_view(_FINISHING[_FINISHING.index(event.stage) - 1])
        else:
            self._finish_view(_FINISHING[-1])

    def _show_stage(self, event: RotationEvent) -> None:
        if event.stage not in self._tasks:
            return
        self._begin(event.stage)
        stages = list(self._units)
        # Background and novel views run at the same time; each of the stages before them ends before the next begins.
        self._fill(*[stage for stage in stages[: min(stages.index(event.stage), 2)] if stage in self._begun])
        if event.background is not None:
            self._fill("background")
        elif event.steps:
            total, _ = self._units[event.stage]
            self._count(event.stage, event.step * total // event.steps)

    def _finish_view(self, stage: str) -> None:
        self._begin(stage)
        self._finished[stage] += 1
        self._count(stage, self._finished[stage])

    def _begin(self, stage: str) -> None:
        if stage not in self._begun:
            self._begun.add(stage)
            self._progress.start_task(self._tasks[stage])
            self._progress.update(self._tasks[stage], visible=True)

    def _count(self, stage: str, done: int) -> None:
        total, unit = self._units[stage]
        self._counted.add(stage)
        # Of a single view only the beginning and the end of a stage are reported: there is nothing to count.
        count = "" if stage in _FINISHING and total == 1 else f"{done} of {total} {unit}"
        self._progress.update(self._tasks[stage], total=total, completed=done, count=count)

    def _fill(self, *stages: str) -> None:
        for stage in stages:
            if stage in self._counted:
                self._count(stage, self._units[stage][0])
            else:
                self._progress.update(self._tasks[stage], total=1, completed=1)
