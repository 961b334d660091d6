"""Progress bars, on a terminal only."""

from __future__ import annotations

import io
import sys
from contextlib import suppress

import pytest
from rich.console import Console

from respin.request import RotationRequest
from respin_client import EncodedImage, RotationEvent
from respin_client.progress import StageBars


def request(*, views: int = 1, steps: int = 75, background_steps: int = 50) -> RotationRequest:
    return RotationRequest(
        b"a photo", "chair", tuple(map(float, range(views))), steps=steps, background_steps=background_steps
    )


class Screen(io.StringIO):
    """What a terminal receives."""

    def row(self, stage: str) -> str:
        """The newest drawing of a stage's bar."""
        return [row for row in self.getvalue().splitlines() if stage in row][-1]


def drawn(events: list[RotationEvent], asked: RotationRequest, *, terminal: bool = True, quiet: bool = False) -> Screen:
    screen = Screen()
    console = Console(file=screen, force_terminal=terminal, width=100, color_system="truecolor")
    with StageBars(console, asked, quiet=quiet) as bars:
        for each in events:
            bars.show(each)
    return screen


def step(done: int, steps: int, stage: str = "novel_view") -> RotationEvent:
    return RotationEvent(stage=stage, step=done, steps=steps)


def of_view(stage: str, view: int = 0) -> RotationEvent:
    return RotationEvent(stage=stage, view=view)


def finished(view: int = 0) -> RotationEvent:
    return RotationEvent(stage="novel_view", view=view, image=EncodedImage(b"a view"))


def is_full(row: str) -> bool:
    """Whether a bar has the colour of a finished one over its whole width."""
    return "\x1b[38;2;114;156;31m" + "━" * 24 in row


FINISHING = ("super_resolution", "outline", "composition")
PART = [RotationEvent(stage="detection"), RotationEvent(stage="novel_view"), step(30, 76)]


def test_bars_name_stage_and_step():
    screen = drawn(PART, request())
    assert "detection" in screen.getvalue()
    assert "29 of 75 steps" in screen.row("novel view")


def test_every_bar_is_full_at_the_end_whatever_was_reported():
    views = [of_view(stage, view) for view in range(2) for stage in FINISHING]
    events = [*PART, step(48, 50, "background"), step(148, 152), *views, finished(0), RotationEvent(stage="done")]
    screen = drawn(events, request(views=2))
    assert "50 of 50 steps" in screen.row("background")
    assert "150 of 150 steps" in screen.row("novel view")
    for stage in ("super resolution", "outline", "composition"):
        assert "2 of 2 views" in screen.row(stage)
    for stage in ("detection", "background", "novel view", "super resolution", "outline", "composition"):
        assert is_full(screen.row(stage))


@pytest.mark.parametrize("calls", [75, 76])
def test_steps_are_counted_as_the_request_has_them(calls):
    assert "75 of 75 steps" in drawn([step(calls, calls)], request()).row("novel view")


def test_a_step_is_not_counted_before_it_is_done():
    assert "74 of 75 steps" in drawn([step(75, 76)], request()).row("novel view")


@pytest.mark.parametrize("stage", ["super resolution", "outline", "composition"])
def test_a_view_is_finished_behind_a_bar_for_each_stage(stage):
    events = [*PART, step(76, 76), *map(of_view, FINISHING)]
    index = [each.replace("_", " ") for each in FINISHING].index(stage)
    begun, over = (drawn(events[: len(PART) + 2 + index + more], request()) for more in (0, 1))
    assert stage in begun.getvalue()
    assert stage not in drawn(events[: len(PART) + 1 + index], request()).getvalue()
    assert not is_full(begun.row(stage))
    if stage == "composition":
        over = drawn([*events, finished()], request())
    assert is_full(over.row(stage))


def test_views_that_are_done_are_counted_by_stage():
    begun = [of_view(stage, view) for view in range(5) for stage in FINISHING[:2]]
    screen = drawn([*begun, *[finished(view) for view in (4, 2, 1)]], request(views=12))
    assert "5 of 12 views" in screen.row("super resolution")
    assert "3 of 12 views" in screen.row("composition")


def test_a_job_that_failed_leaves_no_bars():
    screen = Screen()
    with suppress(RuntimeError), StageBars(Console(file=screen, force_terminal=True, width=100), request()) as bars:
        bars.show(PART[0])
        raise RuntimeError
    assert screen.getvalue().endswith("\x1b[1A\x1b[2K")


def test_what_is_printed_meanwhile_stands_below_the_bars(monkeypatch):
    screen = Screen()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", screen)
    with StageBars(Console(file=screen, force_terminal=True, width=100), request()) as bars:
        bars.show(PART[0])
        print("wrote view.png")
        bars.show(finished())
        bars.print_note("note: a note")
    assert screen.getvalue().endswith("\x1b[?25hnote: a note\nwrote view.png\n")


def test_output_to_a_pipe_is_not_held_back(monkeypatch):
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stdout", pipe)
    with StageBars(Console(file=io.StringIO(), force_terminal=True), request()) as bars:
        print("wrote view.png")
        bars.print_note("note: a note")
        assert pipe.getvalue() == "wrote view.png\nnote: a note\n"


@pytest.mark.parametrize("how", [{"terminal": False}, {"quiet": True}], ids=["no terminal", "quiet"])
def test_no_bars_without_a_terminal_or_with_quiet(how):
    assert drawn([*PART, RotationEvent(stage="done")], request(), **how).getvalue().strip() == ""
