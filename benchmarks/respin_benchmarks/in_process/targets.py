"""What is aimed at, and whether these runs reach it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from respin_benchmarks.in_process.job_cells import (
    CellKey,
    cell_of,
    latency_of,
    median,
    of,
    ratio_in_words,
    ratios,
    runtimes_of,
    usual_cell,
)
from respin_benchmarks.in_process.rows import JobRun, NetworkRun

Target = tuple[str, str, bool]
"""What is aimed at, what was measured, and whether that is enough."""

MEMORY_AIM_MIB = 9 * 1024

AS_FAST = 0.05
"""A share of a network's time that says nothing."""


def check_targets(jobs: Sequence[JobRun], networks: Sequence[NetworkRun], device: str) -> list[str]:
    """The targets that these runs can speak to, each met or missed; eager PyTorch is there for comparison."""
    if device == "cuda":
        return verdicts((runtime, _gpu_targets(jobs, runtime)) for runtime in runtimes_of(jobs))
    return verdicts(
        (runtime, [*_cpu_targets(jobs, runtime), *fastest_of_all(networks, runtime)]) for runtime in runtimes_of(jobs)
    )


def verdicts(targets: Iterable[tuple[str, list[Target]]]) -> list[str]:
    """A table of targets by runtime."""
    return [
        "| aim | measured | |",
        "|---|---|---|",
        *(
            f"| `{runtime}`: {aim} | {text} | {'met' if met else '**missed**'} |"
            for runtime, found in targets
            for aim, text, met in found
            if runtime != "torch eager" and "nan" not in text
        ),
    ]


def _gpu_targets(jobs: Sequence[JobRun], runtime: str) -> list[Target]:
    usual = usual_cell(jobs)
    few = (*next(cell_of(run) for run in jobs if run.sampler != "ddim")[:3], 1, 1)
    one, quick = latency_of(jobs, "engine", usual, runtime), latency_of(jobs, "engine", few, runtime)
    twelve = of(jobs, "engine", (*usual[:3], 12, 1), runtime)
    times = ratios(twelve, of(jobs, "engine", usual, runtime), lambda run: run.latency_s)
    memory = median(of(jobs, "engine", usual, runtime), lambda run: run.memory_mib)
    return [
        (f"one image at {usual[1]} + {usual[2]} steps in 0.8 s", f"{one:.2f} s", one <= 0.8),
        (f"at {few[1]} + {few[2]} steps in 0.4 s", f"{quick:.2f} s", quick <= 0.4),
        *_ratio_target("12 views in less than 2.5 times one", times, lambda ratio: ratio < 2.5),
        ("under 9 GB of GPU memory", f"{memory / 1024:.1f} GiB", memory < MEMORY_AIM_MIB),
        *_same_picture(jobs, usual, runtime, 30),
    ]


def _cpu_targets(jobs: Sequence[JobRun], runtime: str) -> list[Target]:
    usual = usual_cell(jobs)
    baseline = of(jobs, "baseline", usual)
    faster = ratios(baseline, of(jobs, "engine", usual, runtime), lambda run: run.latency_s)
    more = ratios(of(jobs, "engine", (*usual[:4], 4), runtime), baseline, lambda run: run.images_s)
    return [
        *_ratio_target("one job at least 1.5 times faster than the warm eager baseline", faster, lambda it: it >= 1.5),
        *_ratio_target("four jobs at once: at least 2 times its images a second", more, lambda it: it >= 2),
        *_same_picture(jobs, usual, runtime, 40),
    ]


def fastest_of_all(networks: Sequence[NetworkRun], runtime: str) -> list[Target]:
    """At how many rows a runtime is the fastest, and how much less another takes elsewhere; nothing without a rival."""
    names = dict.fromkeys(run.runtime for run in networks)
    if runtime not in names or not set(names) - {runtime, "torch eager"}:
        return []
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
    return [
        (f"within {AS_FAST:.0%} of the fastest of {len(names)} runtimes at each network", "; ".join(found), not less)
    ]


def _ratio_target(aim: str, found: Sequence[float], reached: Callable[[float], bool]) -> list[Target]:
    """By the median; nothing where nothing was measured side by side."""
    return [(aim, ratio_in_words(found), reached(statistics.median(found)))] if found else []


def _same_picture(jobs: Sequence[JobRun], usual: CellKey, runtime: str, least_db: float) -> list[Target]:
    mine = of(jobs, "engine", usual, runtime)
    view = median(mine, lambda run: run.psnr_view_db)
    background = median(mine, lambda run: run.psnr_background_db)
    worst = min(view, background)
    text = f"view {view:.1f} dB, background {background:.1f} dB"
    return [(f"the baseline's picture, at least {least_db:g} dB", text, worst >= least_db)]
