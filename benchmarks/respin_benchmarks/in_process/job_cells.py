"""Runs of whole jobs by what was asked for, and their ratios to the script that Respin replaces."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from respin_benchmarks.in_process.rows import JobRun

CellKey = tuple[str, int, int, int, int]
"""Sampler, steps, background steps, views, jobs."""


def cell_of(run: JobRun) -> CellKey:
    """What was asked for."""
    return run.sampler, run.steps, run.background_steps, run.views, run.jobs


def of(runs: Iterable[JobRun], way: str, cell: CellKey, runtime: str | None = None) -> list[JobRun]:
    """The repeats of one cell in one way."""
    return [
        run for run in runs if run.way == way and cell_of(run) == cell and (runtime is None or run.runtime == runtime)
    ]


def median(runs: Sequence[JobRun], value: Callable[[JobRun], float]) -> float:
    """Of the repeats that have a number; NaN where none has."""
    numbers = [value(run) for run in runs if not math.isnan(value(run))]
    return statistics.median(numbers) if numbers else math.nan


def most_repeats(jobs: Iterable[JobRun]) -> int:
    """Of one cell by one runtime of the engine; 0 where there is none."""
    counted = Counter((run.runtime, run.precision, cell_of(run)) for run in jobs if run.way == "engine")
    return max(counted.values(), default=0)


def usual_cell(jobs: Sequence[JobRun]) -> CellKey:
    """One photo, one view, at the steps of the script that is replaced."""
    return cell_of(next(run for run in jobs if run.way == "baseline"))


def runtimes_of(jobs: Sequence[JobRun]) -> list[str]:
    """Those that the engine ran on."""
    return list(dict.fromkeys(run.runtime for run in jobs if run.way == "engine"))


def latency_of(jobs: Sequence[JobRun], way: str, cell: CellKey, runtime: str | None = None) -> float:
    """Of a job, s, median of the repeats."""
    return median(of(jobs, way, cell, runtime), lambda run: run.latency_s)


def latencies_of(jobs: Sequence[JobRun]) -> dict[str, list[float]]:
    """Every repeat of the usual job, by what did it; the cold baseline, on another scale, is left to the table."""
    if not any(run.way == "baseline" for run in jobs):
        return {}
    usual, found = usual_cell(jobs), {}
    for way, runtime in dict.fromkeys((run.way, run.runtime) for run in jobs if run.way != "cold baseline"):
        found[f"{way}, {runtime}"] = [run.latency_s for run in of(jobs, way, usual, runtime)]
    return found


def ratios(over: Sequence[JobRun], under: Sequence[JobRun], value: Callable[[JobRun], float]) -> list[float]:
    """Of repeats that were neighbours in time; none where they were not."""
    values = {run.repeat: value(run) for run in under}
    return [value(run) / values[run.repeat] for run in over if run.repeat in values]


def ratio_in_words(found: Sequence[float]) -> str:
    """The median, and from the least to the greatest; nothing of none."""
    if not found:
        return ""
    return f"{statistics.median(found):.2f} x ({min(found):.2f} to {max(found):.2f})"
