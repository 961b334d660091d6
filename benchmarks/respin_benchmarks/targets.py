"""Targets, and whether what was measured reaches them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from respin.report.markdown import table


@dataclass(frozen=True)
class Target:
    """A figure that a benchmark has to reach."""

    title: str  # in words
    measured: str  # the figures, in words
    met: bool  # whether all of them reach it


def target_table(targets: Iterable[Target]) -> list[str]:
    """Return the lines of a Markdown table of targets."""
    rows = ((each.title, each.measured, verdict(each.met)) for each in targets)
    return ["| target | measured | |", *table(("target", "measured", ""), rows)[1:]]


def verdict(met: bool) -> str:
    """Return whether a target is met, in Markdown."""
    return "met" if met else "**missed**"
