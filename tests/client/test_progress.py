"""Progress bars, where somebody wants them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from respin_client import Event
from respin_client.progress import StageBars


def drawn(events: list[Event], *, terminal: bool = True, quiet: bool = False) -> str:
    screen = io.StringIO()
    with StageBars(Console(file=screen, force_terminal=terminal, width=100), quiet=quiet) as bars:
        for each in events:
            bars.show(each)
    return screen.getvalue()


STEPS = [Event(stage="detection"), Event(stage="novel_view", view=1, step=30, steps=75), Event(stage="done")]


def test_bars_name_stage_view_and_step():
    screen = drawn(STEPS)
    assert "detection" in screen
    assert "novel view, view 1" in screen
    assert "30 of 75 steps" in screen


@pytest.mark.parametrize("how", [{"terminal": False}, {"quiet": True}], ids=["no terminal", "quiet"])
def test_no_bars_where_nobody_wants_them(how):
    assert drawn(STEPS, **how).strip() == ""
