"""Whether one results file is slower than another, beyond the noise of both.

Both files must be of the same kind and the same machine. Rows that ask for the same are repeats: the newer file is
slower where even its fastest repeat takes longer than the older one's slowest. Of single rows the 95th percentile is
the slowest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import typer

from respin.errors import InvalidInput
from respin.report.rows import read_records

CsvRow = Mapping[str, str]


@dataclass(frozen=True)
class ResultKind:
    """A kind of results file."""

    name: str  # in words
    key: tuple[str, ...]  # columns that say what was asked for
    fastest: str  # column of a repeat's time
    slowest: str = ""  # column of its slow end; empty = a repeat is one time

    def fits(self, rows: Sequence[CsvRow]) -> bool:
        """Return whether a file with these rows is of this kind."""
        return bool(rows) and {*self.key, "machine", self.fastest, self.slowest or self.fastest} <= set(rows[0])

    def cells(self, rows: Sequence[CsvRow]) -> dict[tuple[str, ...], list[CsvRow]]:
        """Return the repeats of each thing that was asked for."""
        grouped: dict[tuple[str, ...], list[CsvRow]] = {}
        for row in rows:
            grouped.setdefault(tuple(row[name] for name in self.key), []).append(row)
        return grouped

    def change(self, before: Sequence[CsvRow], after: Sequence[CsvRow]) -> tuple[float, str]:
        """Return the newer median over the older one, and in words whether that is beyond the noise."""
        fast = [[_time(row[self.fastest]) for row in rows] for rows in (before, after)]
        slow = [[_time(row[self.slowest or self.fastest]) for row in rows] for rows in (before, after)]
        slower, faster = min(fast[1]) > max(slow[0]), max(slow[1]) < min(fast[0])
        return median(fast[1]) / median(fast[0]), "slower" if slower else "faster" if faster else "within the noise"


JOB = ("profile", "sampler", "steps", "background_steps")
"""Columns of a job on the server."""

KINDS = (
    ResultKind(
        "jobs",
        ("way", "runtime", "precision", "sampler", "steps", "background_steps", "views", "jobs", "photo", "weights"),
        "latency_s",
    ),
    ResultKind("networks", ("network", "runtime", "precision", "batch", "shapes", "weights"), "call_ms", "call_p95_ms"),
    ResultKind(
        "perf_analyzer",
        ("model", "protocol", "concurrency", "requests", "profile", "weights"),
        "p50_ms",
        "p95_ms",
    ),
    ResultKind("load", (*JOB, "concurrency"), "p50_s", "p95_s"),
    ResultKind("stages", JOB, "latency_s"),
    ResultKind("startup", ("profile",), "second_job_s"),
    ResultKind("stepping", ("unet", "way", "arrival", "concurrency", "steps"), "wall_s"),
    ResultKind("many views", ("way", "views"), "wall_s"),
)


def _time(text: str) -> float:
    """A job without an answer took for ever."""
    value = float(text)
    return math.inf if math.isnan(value) else value


def changes_between(older: Sequence[CsvRow], newer: Sequence[CsvRow]) -> dict[str, tuple[float, str]]:
    """Return what both files measured: in words what was asked for, newer over older time, and the verdict.

    Raises:
        InvalidInput: they are of different kinds or machines, or have nothing in common.
    """
    kind = next((kind for kind in KINDS if kind.fits(older) and kind.fits(newer)), None)
    if kind is None:
        names = ", ".join(kind.name for kind in KINDS)
        raise InvalidInput(
            f"these are not two results files of one kind with at least a row each; the kinds are {names}"
        )
    machines = [" / ".join(sorted({row["machine"] for row in rows})) for rows in (older, newer)]
    if machines[0] != machines[1]:
        raise InvalidInput(
            f"one file was measured on {machines[0]}, the other on {machines[1]}; measure both on one machine"
        )
    before, after = kind.cells(older), kind.cells(newer)
    common = [key for key in after if key in before]
    if not common:
        raise InvalidInput("the files have nothing in common: no row of one asks for what a row of the other does")
    return {" ".join(filter(None, key)): kind.change(before[key], after[key]) for key in common}


def run(older: Path, newer: Path) -> None:
    """Print what both files measured, and exit with status 1 if something is slower.

    Raises:
        InvalidInput: a file is missing, or the two cannot be compared.
    """
    for path in (older, newer):
        if not path.is_file():
            raise InvalidInput(f"there is no file '{path}'; name two CSV files of benchmarks/results")
    found = changes_between(read_records(older), read_records(newer))
    for what, (ratio, verdict) in found.items():
        typer.echo(f"{ratio:6.3f} x the older time, {verdict}: {what}")
    slower = sum(verdict == "slower" for _, verdict in found.values())
    typer.echo(f"{slower} of {len(found)} slower")
    raise typer.Exit(1 if slower else 0)
