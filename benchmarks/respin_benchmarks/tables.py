"""Tables of the documentation: a row for each cell, whose repeats become medians."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from respin.report.circumstances import Circumstances
from respin.report.markdown import table
from respin.report.statistics import distinct_text, median, percentile
from respin_benchmarks.circumstances import RepeatRun

R = TypeVar("R")


class Repeats(float):
    """The median of several values, in a format such as ".2f"; "-" if none of them is a number.

    Args:
        values: values of the repeats; those that are NaN are left out.
    """

    def __new__(cls, values: Iterable[float]) -> Repeats:
        """Compute the median."""
        numbers = sorted(value for value in values if not math.isnan(value))
        made = super().__new__(cls, median(numbers))
        made._numbers = numbers
        return made

    _numbers: list[float]

    def __format__(self, form: str) -> str:
        """Return the median in a format."""
        return "-" if math.isnan(self) else super().__format__(form)

    @property
    def least(self) -> Repeats:
        """The least value."""
        return Repeats(self._numbers[:1])

    @property
    def greatest(self) -> Repeats:
        """The greatest value."""
        return Repeats(self._numbers[-1:])

    @property
    def spread(self) -> Repeats:
        """(greatest - least) / median; NaN for fewer than two values."""
        return Repeats([(self.greatest - self.least) / self] if len(self._numbers) > 1 else [])


def cells_of(rows: Iterable[R], *key: str) -> list[list[R]]:
    """Return the repeats of each cell, sorted by the columns that tell cells apart."""
    groups: dict[tuple[Any, ...], list[R]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in key), []).append(row)
    return [groups[each] for each in sorted(groups)]


def medians_of(cell: Sequence[Any]) -> dict[str, Any]:
    """Return the columns of a cell by name: text as in the first row, numbers as `Repeats`."""
    columns = {field.name: [getattr(row, field.name) for row in cell] for field in fields(cell[0])}
    return {name: each[0] if isinstance(each[0], str) else Repeats(each) for name, each in columns.items()}


def percentiles_of(cell: Iterable[Any], column: str) -> dict[str, Repeats]:
    """Return p50, p95 and p99 of the numbers that a column lists, those of all repeats together."""
    pooled = [float(each) for row in cell for each in getattr(row, column).split()]
    return {f"p{percent}": Repeats([percentile(pooled, percent / 100)]) for percent in (50, 95, 99)}


def cell_table(
    columns: Mapping[str, str],
    cells: Iterable[Sequence[R]],
    more: Callable[[Sequence[R]], Mapping[str, object]] = lambda cell: {},
) -> list[str]:
    """Return the lines of a Markdown table with a row for each cell; a column of which nothing is known is left out.

    Args:
        columns: by title the format of what `medians_of` returns, such as "{latency_s:.2f} ({latency_s.spread:.0%})".
        cells: the repeats of each.
        more: makes further values of a cell, by name.
    """
    values = [{**medians_of(cell), **more(cell)} for cell in cells]
    known = {title: [form.format(**each) for each in values] for title, form in columns.items()}
    known = {title: texts for title, texts in known.items() if set(texts) != {"-"}}
    return table(list(known), zip(*known.values(), strict=True))


def where_text(rows: Sequence[Circumstances], what: str = "") -> str:
    """Return where, when and what was measured.

    Args:
        rows: at least one.
        what: in words.
    """
    loads = [row.load_average for row in rows if isinstance(row, RepeatRun)]
    parts = [rows[0].machine, rows[0].date, what, f"commit {distinct_text(row.commit for row in rows)}"]
    text = ", ".join([*filter(None, parts), rows[0].versions])
    return f"{text}; load average {min(loads):g} to {max(loads):g}" if loads else text
