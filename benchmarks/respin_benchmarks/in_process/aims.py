"""What is aimed at, and whether these runs reach it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence

from respin_benchmarks.in_process.analysis import median_of, ratio_text, ratios, runtimes_of, select, usual_key
from respin_benchmarks.in_process.rows import JobKey, JobRun, NetworkRun
from respin_benchmarks.targets import Target

MEMORY_AIM_MIB = 9 * 1024

AS_FAST = 0.05
"""A share of a network's time that says nothing."""


def targets_of(jobs: Sequence[JobRun], networks: Sequence[NetworkRun], device: str) -> list[Target]:
    """Return the targets that these runs can speak to, by runtime; eager PyTorch is there for comparison only.

    Args:
        jobs: of one device; may be none.
        networks: of one device.
        device: "cpu", "cpu_full" or "cuda".
    """
    names = runtimes_of(jobs) if jobs else list(dict.fromkeys(run.runtime for run in networks))
    found = [(name, target) for name in names for target in _targets(jobs, networks, device, name)]
    return [
        Target(f"`{name}`: {target.aim}", target.measured, target.met)
        for name, target in found
        if name != "torch eager" and "nan" not in target.measured
    ]


def _targets(jobs: Sequence[JobRun], networks: Sequence[NetworkRun], device: str, runtime: str) -> Iterable[Target]:
    if device == "cuda":
        return _gpu_targets(jobs, runtime) if jobs else ()
    return [*(_cpu_targets(jobs, runtime) if jobs else ()), *_fastest(networks, runtime)]


def _gpu_targets(jobs: Sequence[JobRun], runtime: str) -> Iterator[Target]:
    usual = usual_key(jobs)
    few = (*next(run for run in jobs if run.sampler != "ddim").key[:3], 1, 1)
    mine = select(jobs, "engine", usual, runtime)
    one, quick = median_of(mine, "latency_s"), median_of(select(jobs, "engine", few, runtime), "latency_s")
    twelve = select(jobs, "engine", (*usual[:3], 12, 1), runtime)
    yield Target(f"one image at {usual[1]} + {usual[2]} steps in 0.8 s", f"{one:.2f} s", one <= 0.8)
    yield Target(f"at {few[1]} + {few[2]} steps in 0.4 s", f"{quick:.2f} s", quick <= 0.4)
    if times := ratios(twelve, mine, lambda run: run.latency_s):
        met = statistics.median(times) < 2.5
        yield Target("12 views in less than 2.5 times one", ratio_text(times), met)
    memory = median_of(mine, "memory_mib")
    yield Target("under 9 GB of GPU memory", f"{memory / 1024:.1f} GiB", memory < MEMORY_AIM_MIB)
    yield _same_picture(jobs, usual, runtime, 30)


def _cpu_targets(jobs: Sequence[JobRun], runtime: str) -> Iterator[Target]:
    usual = usual_key(jobs)
    baseline = select(jobs, "baseline", usual)
    if faster := ratios(baseline, select(jobs, "engine", usual, runtime), lambda run: run.latency_s):
        aim = "one job at least 1.5 times faster than the warm eager baseline"
        yield Target(aim, ratio_text(faster), statistics.median(faster) >= 1.5)
    if more := ratios(select(jobs, "engine", (*usual[:4], 4), runtime), baseline, lambda run: run.images_s):
        aim = "four jobs at once: at least 2 times its images a second"
        yield Target(aim, ratio_text(more), statistics.median(more) >= 2)
    yield _same_picture(jobs, usual, runtime, 40)


def _fastest(networks: Sequence[NetworkRun], runtime: str) -> Iterator[Target]:
    """At how many rows a runtime is the fastest, and how much less another takes elsewhere; none without a rival."""
    names = dict.fromkeys(run.runtime for run in networks)
    if runtime not in names or not set(names) - {runtime, "torch eager"}:
        return
    mine = [run for run in networks if run.runtime == runtime]
    less: dict[str, list[str]] = {}
    for run in mine:
        same = [other for other in networks if (other.network, other.batch) == (run.network, run.batch)]
        best = min(same, key=lambda other: other.best_ms)
        if best.best_ms < (1 - AS_FAST) * run.best_ms:
            share = f"{1 - best.best_ms / run.best_ms:.0%}"
            less.setdefault(best.runtime, []).append(f"`{run.network}` x {run.batch} {share}")
    won = len(mine) - sum(map(len, less.values()))
    found = [f"{won} of {len(mine)} rows", *(f"{name} takes less at {', '.join(rows)}" for name, rows in less.items())]
    aim = f"within {AS_FAST:.0%} of the fastest of {len(names)} runtimes at each network"
    yield Target(aim, "; ".join(found), not less)


def _same_picture(jobs: Sequence[JobRun], usual: JobKey, runtime: str, least_db: float) -> Target:
    mine = select(jobs, "engine", usual, runtime)
    view, background = median_of(mine, "psnr_view_db"), median_of(mine, "psnr_background_db")
    text = f"view {view:.1f} dB, background {background:.1f} dB"
    return Target(f"the baseline's picture, at least {least_db:g} dB", text, min(view, background) >= least_db)
