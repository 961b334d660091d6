"""What an earlier run of the same command has left to be measured."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from respin.errors import RespinError
from respin_benchmarks.in_process.job_cells import CellKey, cell_of, of
from respin_benchmarks.in_process.machine import Machine
from respin_benchmarks.in_process.rows import JobRun, NetworkRun


class OutOfTime(RespinError):
    """What a measurement needs is not finished yet; what is finished is kept."""


Row = TypeVar("Row", JobRun, NetworkRun)


@dataclass(frozen=True)
class Subject:
    """What a run measures, and where: it goes on from rows of the same.

    Args:
        weights: which ones, in words.
        precision: "fp32" or "fp16".
        machine: with its packages and the code's commit.
    """

    weights: str
    precision: str
    machine: Machine

    def rows(self, rows: Iterable[Row]) -> list[Row]:
        """Those that this run would write."""
        return [row for row in rows if self._holds(row)]

    def kept(self, rows: Sequence[JobRun], runtimes: Collection[str]) -> list[JobRun]:
        """Rows that stay: of what is measured now only its own, and no baseline that nothing is compared to any more.

        Args:
            rows: of earlier runs.
            runtimes: of the engine, that are measured now.
        """
        staying = [row for row in rows if not self._replaced(row, runtimes)]
        pairs = {_pair(row) for row in staying if row.way == "engine"}
        return [row for row in staying if self._holds(row) or _pair(row) in pairs]

    def _holds(self, row: JobRun | NetworkRun) -> bool:
        machine = self.machine
        here = (self.weights, self.precision, machine.commit, machine.name, machine.versions)
        return (row.weights, row.precision, row.commit, row.machine, row.versions) == here

    def _replaced(self, row: JobRun, runtimes: Collection[str]) -> bool:
        measured_now = row.way == "engine" and row.runtime in runtimes and row.precision == self.precision
        return measured_now and not self._holds(row)


def _pair(row: JobRun) -> tuple[str, str, int]:
    """What the baseline and whatever it is compared to have in common."""
    return row.commit, row.precision, row.repeat


def repeats_left(rows: Iterable[JobRun], cells: Sequence[CellKey], runtimes: Sequence[str], repeats: int) -> int:
    """How often every cell is still to be measured by every runtime.

    Args:
        rows: of the subject.
        cells: what is asked for.
        runtimes: of the engine.
        repeats: wanted.
    """
    counted = list(rows)
    return repeats - min(repeats, *(len(of(counted, "engine", cell, name)) for cell in cells for name in runtimes))


def cold_starts_left(rows: Iterable[JobRun], cell: CellKey, wanted: int) -> int:
    """How often the baseline's process is still to be started.

    Args:
        rows: of the subject.
        cell: that it does.
        wanted: starts.
    """
    return max(0, wanted - sum(row.way == "cold baseline" and cell_of(row) == cell for row in rows))
