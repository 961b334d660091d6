"""Whether one results file is slower than another, beyond the noise of both.

Both files must be of the same kind and the same machine. Rows that ask for the same are repeats: the newer file is
slower where even its fastest repeat takes longer than the older one's slowest. Of single rows the 95th percentile is
the slowest.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from respin.errors import InvalidInput
from respin.report.rows import read_records

Record = Mapping[str, str]


@dataclass(frozen=True)
class ResultKind:
    """A kind of results file."""

    name: str  # in words
    key: tuple[str, ...]  # columns that say what was asked for
    fastest: str  # column of a repeat's time
    slowest: str  # column of its slow end; the same if a repeat is one time

    def fits(self, columns: Sequence[str]) -> bool:
        """Return whether a file with these columns is of this kind."""
        needed = {*self.key, self.fastest, self.slowest}
        return any(needed | machine <= set(columns) for machine in ({"machine"}, {"cpu", "cores"}))


JOB = ("profile", "sampler", "steps", "background_steps")
"""Columns of a job on the server."""

KINDS = (
    ResultKind(
        "jobs",
        ("way", "runtime", "precision", "sampler", "steps", "background_steps", "views", "jobs", "photo", "weights"),
        "latency_s",
        "latency_s",
    ),
    ResultKind("networks", ("network", "runtime", "precision", "batch", "shapes", "weights"), "call_ms", "call_p95_ms"),
    ResultKind(
        "perf_analyzer",
        ("model", "protocol", "concurrency", "request_rate", "shared_memory", "requests", "profile", "weights"),
        "p50_ms",
        "p95_ms",
    ),
    ResultKind("load", (*JOB, "arrival", "concurrency", "rate_share"), "p50_s", "p95_s"),
    ResultKind("spin", (*JOB, "views"), "latency_s", "latency_s"),
    ResultKind("stages", JOB, "latency_s", "latency_s"),
    ResultKind("startup", ("profile",), "second_job_s", "second_job_s"),
    ResultKind(
        "stepping", ("network", "unet", "cost_ms", "way", "arrival", "concurrency", "steps"), "wall_s", "wall_s"
    ),
    ResultKind("many views", ("way", "caches", "views"), "wall_s", "wall_s"),
)


@dataclass(frozen=True)
class Change:
    """One thing that both files measured."""

    key: tuple[str, ...]  # what was asked for
    ratio: float  # newer median over the older one; above 1 is slower
    slower: bool  # whether that is beyond the noise
    faster: bool  # the same the other way


def changes_between(older: Sequence[Record], newer: Sequence[Record]) -> list[Change]:
    """Return what both files measured, in the newer one's order.

    Raises:
        InvalidInput: they are of different kinds or machines, or have nothing in common.
    """
    kind = _kind(older, newer)
    machines = [" / ".join(sorted({_machine(row) for row in rows})) for rows in (older, newer)]
    if machines[0] != machines[1]:
        raise InvalidInput(
            f"one file was measured on {machines[0]}, the other on {machines[1]}; measure both on one machine"
        )
    before, after = _by_key(older, kind), _by_key(newer, kind)
    common = [key for key in after if key in before]
    if not common:
        raise InvalidInput("the files have nothing in common: no row of one asks for what a row of the other does")
    return [_change(key, before[key], after[key], kind) for key in common]


def _machine(row: Record) -> str:
    return row["machine"] if "machine" in row else f"{row['cores']} cores of {row['cpu']}"


def _kind(older: Sequence[Record], newer: Sequence[Record]) -> ResultKind:
    for kind in KINDS:
        if all(rows and kind.fits(list(rows[0])) for rows in (older, newer)):
            return kind
    names = ", ".join(kind.name for kind in KINDS)
    raise InvalidInput(f"these are not two results files of one kind with at least a row each; the kinds are {names}")


def _by_key(rows: Sequence[Record], kind: ResultKind) -> dict[tuple[str, ...], list[Record]]:
    grouped: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for row in rows:
        grouped[tuple(row[name] for name in kind.key)].append(row)
    return grouped


def _change(key: tuple[str, ...], before: Sequence[Record], after: Sequence[Record], kind: ResultKind) -> Change:
    fast = [[_time(row[kind.fastest]) for row in rows] for rows in (before, after)]
    slow = [[_time(row[kind.slowest]) for row in rows] for rows in (before, after)]
    return Change(
        key,
        ratio=statistics.median(fast[1]) / statistics.median(fast[0]),
        slower=min(fast[1]) > max(slow[0]),
        faster=max(slow[1]) < min(fast[0]),
    )


def _time(text: str) -> float:
    """A job without an answer took for ever."""
    value = float(text)
    return math.inf if math.isnan(value) else value


def run(older: Path, newer: Path) -> None:
    """Print what both files measured, and exit with status 1 if something is slower.

    Raises:
        InvalidInput: a file is missing, or the two cannot be compared.
    """
    for path in (older, newer):
        if not path.is_file():
            raise InvalidInput(f"there is no file '{path}'; name two CSV files of benchmarks/results")
    found = changes_between(read_records(older), read_records(newer))
    shown = Table("what", "newer / older", "")
    for change in found:
        verdict = "slower" if change.slower else "faster" if change.faster else "within the noise"
        shown.add_row(" ".join(part for part in change.key if part), f"{change.ratio:.3f}", verdict)
    Console().print(shown)
    slower = sum(change.slower for change in found)
    typer.echo(f"{slower} of {len(found)} slower")
    raise typer.Exit(1 if slower else 0)
