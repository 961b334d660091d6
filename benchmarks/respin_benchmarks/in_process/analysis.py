"""Figures that follow from several runs: medians, ratios to the script that Respin replaces, the limit of a job."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from respin.report.statistics import median
from respin_benchmarks.in_process.rows import JobKey, JobRun, NetworkRun
from respin_ensemble.sampling.noise_schedules import zero123_schedule

CALLS = {"sam_encoder": 2, "sam_decoder": 2, "clip_vision": 1, "clip_text": 1, "edsr": 1}
"""Calls of a job with one view beside the UNets, GroundingDINO and the VAE: photo and view are both segmented."""


def select(runs: Iterable[JobRun], way: str, key: JobKey, runtime: str | None = None) -> list[JobRun]:
    """Return the repeats of one cell in one way, by one runtime or any."""
    return [run for run in runs if (run.way, run.key) == (way, key) and runtime in (None, run.runtime)]


def median_of(runs: Iterable[JobRun], column: str) -> float:
    """Return the median of a column over the runs that have a number; NaN if none has."""
    return median(float(getattr(run, column)) for run in runs)


def most_repeats(jobs: Iterable[JobRun]) -> int:
    """Return the greatest number of repeats of a cell by one runtime of the engine; 0 if there is none."""
    counts = Counter((run.runtime, run.precision, run.key) for run in jobs if run.way == "engine")
    return max(counts.values(), default=0)


def usual_key(jobs: Sequence[JobRun]) -> JobKey:
    """Return the cell of one photo and one view, at the steps of the script that is replaced."""
    return next(run for run in jobs if run.way == "baseline").key


def runtimes_of(jobs: Sequence[JobRun]) -> list[str]:
    """Return the runtimes that the engine ran on."""
    return list(dict.fromkeys(run.runtime for run in jobs if run.way == "engine"))


def latencies_by_way(jobs: Sequence[JobRun]) -> dict[str, list[float]]:
    """Return the latency of every repeat of the usual job, s; not of the cold baseline, which has another scale."""
    if not any(run.way == "baseline" for run in jobs):
        return {}
    usual = usual_key(jobs)
    ways = dict.fromkeys((run.way, run.runtime) for run in jobs if run.way != "cold baseline")
    return {f"{way}, {runtime}": [run.latency_s for run in select(jobs, way, usual, runtime)] for way, runtime in ways}


def ratios(over: Sequence[JobRun], under: Sequence[JobRun], value: Callable[[JobRun], float]) -> list[float]:
    """Return the ratios of repeats that were neighbours in time; none if there are no such repeats."""
    values = {run.repeat: value(run) for run in under}
    return [value(run) / values[run.repeat] for run in over if run.repeat in values]


def ratio_text(found: Sequence[float]) -> str:
    """Return the median with the least and the greatest ratio; empty for none."""
    return f"{statistics.median(found):.2f} x ({min(found):.2f} to {max(found):.2f})" if found else ""


def job_limit_ms(runs: Sequence[NetworkRun], *, steps: int, background_steps: int) -> tuple[float, float] | None:
    """Return the least time of one job whose box is given, and of its UNets alone, ms; None if a network is missing.

    Args:
        runs: of single networks, from one machine.
        steps: of the novel view, by DDIM.
        background_steps: of the background.
    """
    usual: dict[str, NetworkRun] = {}
    for run in sorted(runs, key=lambda run: run.batch):
        usual.setdefault(run.network, run)
    unets = {"zero123_unet": len(zero123_schedule(steps)), "inpaint_unet": background_steps}
    if not {*CALLS, *unets, "grounding_dino", "vae_encoder", "vae_decoder"} <= set(usual):
        return None
    # The VAE works on the photo and on the view, GroundingDINO on the view, which is square.
    height, width = _sides(usual["grounding_dino"])
    vae_calls = 1 + _area(usual["edsr"]) / _area(usual["vae_encoder"])
    others = {**CALLS, "vae_encoder": vae_calls, "vae_decoder": vae_calls, "grounding_dino": height / width}
    return _limit_ms(usual, unets | others), _limit_ms(usual, unets)


def _limit_ms(usual: Mapping[str, NetworkRun], calls: Mapping[str, float]) -> float:
    return sum(usual[name].floor_ms * count for name, count in calls.items())


def _sides(run: NetworkRun) -> tuple[int, int]:
    """Height and width of a network's first input: "3x800x1066 256 ..."."""
    _, height, width = (int(length) for length in run.shapes.split()[0].split("x"))
    return height, width


def _area(run: NetworkRun) -> int:
    height, width = _sides(run)
    return height * width
