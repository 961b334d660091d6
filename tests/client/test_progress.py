"""Progress bars, where somebody wants them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from respin_client import EncodedImage, RotationEvent
from respin_client.progress import StageBars


def drawn(events: list[RotationEvent], *, views: int = 1, terminal: bool = True, quiet: bool = False) -> str:
    screen = io.StringIO()
    with StageBars(Console(file=screen, force_terminal=terminal, width=100), views=views, quiet=quiet) as bars:
        for each in events:
            bars.show(each)
    return screen.getvalue()


STEPS = [
    RotationEvent(stage="detection"),
    RotationEvent(stage="novel_view", view=1, step=30, steps=75),
    RotationEvent(stage="done"),
]


def test_bars_name_stage_and_step():
    screen = drawn(STEPS)
    assert "detection" in screen
    assert "novel view" in screen
    assert "30 of 75 steps" in screen


def test_many_views_share_the_bar_of_a_stage():
    each = [RotationEvent(stage="novel_view", view=view, step=30, steps=75) for view in range(12)]
    screen = drawn(
        [*each, RotationEvent(stage="super_resolution", view=7), RotationEvent(stage="super_resolution", view=3)],
        views=12,
    )
    last = screen.split("\x1b[?25h")[0].splitlines()[-2:]
    assert "360 of 900 steps" in last[0]
    assert "2 of 12 views" in last[1]


@pytest.mark.parametrize("made", ["image", "novel_view"])
def test_views_that_are_done_are_counted(made):
    done = [RotationEvent(stage="novel_view", view=view, **{made: EncodedImage(b"a view")}) for view in (4, 2, 9)]
    assert "3 of 12 views" in drawn(done, views=12).splitlines()[-2]
    assert "views done" not in drawn(done, views=1)


@pytest.mark.parametrize("how", [{"terminal": False}, {"quiet": True}], ids=["no terminal", "quiet"])
def test_no_bars_where_nobody_wants_them(how):
    assert drawn(STEPS, **how).strip() == ""
