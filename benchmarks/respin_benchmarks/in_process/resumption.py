"""What an earlier run of the same measurement has left to do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from respin.report.circumstances import Circumstances
from respin_benchmarks.in_process.rows import JobKey, JobRun, NetworkRun

Run = TypeVar("Run", JobRun, NetworkRun)


@dataclass(frozen=True)
class Subject:
    """What a run measures, and where: it goes on from rows of the same."""

    weights: str  # which ones, in words
    precision: str  # "fp32" or "fp16"
    circumstances: Circumstances  # machine, packages and commit; the date may differ

    def own(self, rows: Iterable[Run]) -> list[Run]:
        """Return the rows that this run would write."""
        return [row for row in rows if self._owns(row)]

    def kept(self, rows: Sequence[JobRun], runtimes: Collection[str]) -> list[JobRun]:
        """Return the rows that stay: no older ones of what is measured now, no baseline without its engine.

        Args:
            rows: of earlier runs.
            runtimes: of the engine, that are measured now.
        """
        staying = [row for row in rows if not self._replaces(row, runtimes)]
        pairs = {_pair(row) for row in staying if row.way == "engine"}
        return [row for row in staying if self._owns(row) or _pair(row) in pairs]

    def _owns(self, row: JobRun | NetworkRun) -> bool:
        here = self.circumstances
        wanted = (self.weights, self.precision, here.commit, here.machine, here.versions)
        return (row.weights, row.precision, row.commit, row.machine, row.versions) == wanted

    def _replaces(self, row: JobRun, runtimes: Collection[str]) -> bool:
        measured_now = row.way == "engine" and row.runtime in runtimes and row.precision == self.precision
        return measured_now and not self._owns(row)


def _pair(row: JobRun) -> tuple[str, str, int]:
    """What the baseline and the runs that are compared with it have in common."""
    return row.commit, row.precision, row.repeat


def repeats_left(rows: Sequence[JobRun], keys: Sequence[JobKey], runtimes: Sequence[str], repeats: int) -> int:
    """Return how often every cell is still to be measured by every runtime.

    Args:
        rows: of the subject.
        keys: of the cells.
        runtimes: of the engine.
        repeats: wanted.
    """
    counts = [
        sum((row.way, row.key, row.runtime) == ("engine", key, runtime) for row in rows)
        for key in keys
        for runtime in runtimes
    ]
    return repeats - min(repeats, *counts)


def cold_starts_left(rows: Iterable[JobRun], key: JobKey, wanted: int) -> int:
    """Return how often the baseline's process is still to be started.

    Args:
        rows: of the subject.
        key: of the cell that it does.
        wanted: starts.
    """
    return max(0, wanted - sum((row.way, row.key) == ("cold baseline", key) for row in rows))
