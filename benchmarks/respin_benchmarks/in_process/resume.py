"""What an earlier run of the same command has left to be measured."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol, TypeVar

from respin.errors import RespinError
from respin_benchmarks.in_process.job_cells import CellKey, cell_of, of
from respin_benchmarks.in_process.machine import Machine
from respin_benchmarks.in_process.rows import JobRun


class OutOfTime(RespinError):
    """What a measurement needs is not finished yet; what is finished is kept."""


class Measured(Protocol):
    """A row that tells what was measured, and where."""

    @property
    def weights(self) -> str:
        """Which ones, in words."""
        ...

    @property
    def commit(self) -> str:
        """Of the code."""
        ...

    @property
    def machine(self) -> str:
        """Its name."""
        ...

    @property
    def versions(self) -> str:
        """Of the packages."""
        ...


M = TypeVar("M", bound=Measured)


def of_today(rows: Iterable[M], machine: Machine, weights: str) -> list[M]:
    """Rows of this code on this machine, with these weights: a run that was ended goes on from them."""
    here = (weights, machine.commit, machine.name, machine.versions)
    return [row for row in rows if (row.weights, row.commit, row.machine, row.versions) == here]


def gone_on_with(rows: Sequence[JobRun], machine: Machine, weights: str, runtimes: Collection[str]) -> list[JobRun]:
    """Rows that stay: of what is measured now only today's, and no baseline that nothing is compared to any more.

    Args:
        rows: of earlier runs.
        machine: that is measured now.
        weights: with which.
        runtimes: of the engine.
    """
    today = of_today(rows, machine, weights)
    engine = [row for row in rows if row.way == "engine" and (row in today or row.runtime not in runtimes)]
    pairs = {(row.commit, row.repeat) for row in engine}
    return [row for row in rows if row in today or row in engine or (row.commit, row.repeat) in pairs]


def repeats_left(rows: Iterable[JobRun], cells: Sequence[CellKey], runtimes: Sequence[str], repeats: int) -> int:
    """How often every cell is still to be measured by every runtime.

    Args:
        rows: today's.
        cells: what is asked for.
        runtimes: of the engine.
        repeats: wanted.
    """
    counted = list(rows)
    return repeats - min(repeats, *(len(of(counted, "engine", cell, name)) for cell in cells for name in runtimes))


def cold_starts_left(rows: Iterable[JobRun], cell: CellKey, wanted: int) -> int:
    """How often the baseline's process is still to be started.

    Args:
        rows: today's.
        cell: that it does.
        wanted: starts.
    """
    return max(0, wanted - sum(row.way == "cold baseline" and cell_of(row) == cell for row in rows))
