"""Aims, and whether what was measured reaches them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from respin.report.markdown import table


@dataclass(frozen=True)
class Target:
    """One aim."""

    aim: str  # in words
    measured: str  # the figures, in words
    met: bool  # whether all of them reach it


def target_table(targets: Iterable[Target]) -> list[str]:
    """Return the lines of a Markdown table of aims."""
    rows = ((each.aim, each.measured, verdict(each.met)) for each in targets)
    return ["| aim | measured | |", *table(("aim", "measured", ""), rows)[1:]]


def verdict(met: bool) -> str:
    """Return whether an aim is met, in Markdown."""
    return "met" if met else "**missed**"
