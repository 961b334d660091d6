"""Rows of a CSV file, and the stretch of a page that is written from them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from respin_benchmarks.circumstances import Circumstances

Row = dict[str, str]

BEGIN, END = "<!-- step_scheduler: begin -->", "<!-- step_scheduler: end -->"


class Rows:
    """A CSV file that is written row by row: what was measured before a failure is kept.

    Args:
        path: of the file; one that is there is replaced.
        kind: dataclass of the runs.
    """

    def __init__(self, path: Path, kind: type[Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._names = [field.name for each in (kind, Circumstances) for field in fields(each)]
        with path.open("w", newline="") as file:
            csv.DictWriter(file, self._names).writeheader()

    def write(self, run: Any, circumstances: Circumstances) -> None:
        """Append a run and the circumstances under which it was made."""
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, self._names).writerow(asdict(run) | asdict(circumstances))


def rows_of(path: Path) -> list[Row]:
    """Every run in a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def where(rows: Sequence[Row]) -> str:
    """The circumstances of all rows in a sentence."""
    loads = [float(row["load"]) for row in rows]
    return (
        f"{_all(rows, 'cores')} cores of {_all(rows, 'cpu')}, {_all(rows, 'date')}, commit {_all(rows, 'commit')}, "
        f"{_all(rows, 'versions')}; load average {min(loads):g} to {max(loads):g}"
    )


def _all(rows: Iterable[Row], column: str) -> str:
    """The values of a column, each once."""
    return " / ".join(dict.fromkeys(row[column] for row in rows))


def with_section(page: str, section: str) -> str:
    """A page with the section between its two marks.

    Raises:
        ValueError: the page lacks one of the marks, or has one twice.
    """
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{section}{END}{after}"
