"""The section on the step batcher, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from respin.report.markdown import table
from respin.report.statistics import distinct_text, median, percentile
from respin_benchmarks.step_batcher.cells import ARRIVALS, BATCHER, CACHES, COST_MS, TOGETHER, VIEW_WAYS, WAYS
from respin_benchmarks.step_batcher.rows import BatcherRun, ManyViewsRun, SteppingRun
from respin_benchmarks.targets import Target, target_table

IMAGES = {"latency": "engine_latency.png", "ratio": "engine_ratio.png"}
SLOTS = 8
RATIO_AIM, LATENCY_AIM = 0.95, 1.3
OVERHEAD_AIMS_MS = {1: 1.0, 8: 3.0}
CALLS_AIM, TIME_AIM = 3.0, 2.0
NETWORKS = {
    "fixed": f"A network that takes {COST_MS:g} ms a call, whatever the batch",
    "mini": "The mini set's UNet, on ONNX Runtime",
}


def page_of(steppings: Sequence[SteppingRun], views: Sequence[ManyViewsRun]) -> str:
    """Return the section.

    Args:
        steppings: at least one repeat of every cell.
        views: the same.
    """
    lines = [
        f"Stepping: {_where(steppings)}. Views: {_where(views)}.",
        "",
        *target_table([*stepping_targets(steppings), *view_targets(views)]),
        "",
        "### Continuous batching against independent loops",
        "",
        f"![Samples a UNet call over the number of requests](images/{IMAGES['ratio']})",
        "",
        f"![Latency over the number of requests](images/{IMAGES['latency']})",
        "",
    ]
    for network, title in NETWORKS.items():
        lines += [f"{title}; first figure of a pair: simultaneous arrivals; second: staggered ones.", ""]
        lines += [*_comparison(compared(steppings, network)), ""]
    lines += ["### What a step costs beside the network", "", *_overhead(steppings), ""]
    lines += [f"### {views[0].views} views of one photo", "", *_views(views)]
    return "\n".join(lines) + "\n"


def _where(runs: Sequence[BatcherRun]) -> str:
    loads = [run.load for run in runs]
    cores, cpu, date, commit, versions = (
        distinct_text(getattr(run, name) for run in runs) for name in ("cores", "cpu", "date", "commit", "versions")
    )
    return (
        f"{1 + max(run.repeat for run in runs)} repeats, {cores} cores of {cpu}, {date}, commit {commit}, {versions}; "
        f"load average {min(loads):g} to {max(loads):g}"
    )


def compared(runs: Sequence[SteppingRun], network: str) -> list[SteppingRun]:
    """Return the runs of Zero123's UNet in which the ways were measured beside one another."""
    cost = f"{COST_MS:g}" if network == "fixed" else ""
    return [run for run in runs if (run.network, run.unet, run.cost_ms) == (network, "zero123_unet", cost)]


def select(runs: Sequence[SteppingRun], way: str, arrival: str, concurrency: int) -> list[SteppingRun]:
    """Return all repeats of one cell."""
    return [run for run in runs if (run.way, run.arrival, run.concurrency) == (way, arrival, concurrency)]


def median_of(runs: Sequence[BatcherRun], column: str) -> float:
    """Return the median of the repeats that have the figure; NaN if none has it."""
    return median(float(getattr(run, column)) for run in runs)


def latencies_ms(runs: Sequence[SteppingRun]) -> list[float]:
    """Return the latency of every request of every repeat."""
    return [float(latency) for run in runs for latency in run.latencies_ms.split()]


def concurrencies(runs: Sequence[SteppingRun]) -> list[int]:
    """Return the numbers of requests, rising."""
    return sorted({run.concurrency for run in runs})


def _comparison(runs: Sequence[SteppingRun]) -> list[str]:
    titles = ("samples a call, ramped", "whole run", "steps/s", "latency p50, s", "p95, s", "UNet busy")
    rows = []
    for count in concurrencies(runs):
        for way in WAYS:
            pair = [select(runs, way, arrival, count) for arrival in ARRIVALS]
            figures = [
                [f"{median_of(each, 'ramped_ratio'):.2f}" for each in pair],
                [f"{median_of(each, 'ratio'):.2f}" for each in pair],
                [f"{median_of(each, 'steps_per_s'):.0f}" for each in pair],
                *([f"{percentile(latencies_ms(each), share) / 1e3:.2f}" for each in pair] for share in (0.5, 0.95)),
                [f"{median_of(each, 'busy'):.0%}" for each in pair],
            ]
            rows.append([f"{count}", way, *(" / ".join(each).replace("nan", "-") for each in figures)])
    return table(("requests", "way", *titles), rows)


def overhead_ms(runs: Sequence[SteppingRun]) -> float:
    """Return what a step takes beside the network, ms: from call to call, less a call by the network's own clock.

    Its own clock, because a sleep of 10 ms is late by whatever else the machine does, which no batcher can change.
    """
    return statistics.median(run.period_ms - run.unet_ms for run in runs)


def _overhead_cells(runs: Sequence[SteppingRun]) -> Iterator[tuple[str, str, int, list[SteppingRun]]]:
    """UNet, cost in ms, batch and repeats, where the step batcher drives a network of fixed cost."""
    for cost in (f"{COST_MS:g}", "0"):
        for unet in ("zero123_unet", "inpaint_unet"):
            mine = [run for run in runs if (run.unet, run.cost_ms) == (unet, cost)]
            for count in OVERHEAD_AIMS_MS:
                if repeats := select(mine, BATCHER, "simultaneous", count):
                    yield unet, cost, count, repeats


def _overhead(runs: Sequence[SteppingRun]) -> list[str]:
    titles = ("UNet", "a call costs, ms", "batch", "took, ms", "call to call, ms", "overhead, ms")
    rows = []
    for unet, cost, count, repeats in _overhead_cells(runs):
        took, period, between = (median_of(repeats, name) for name in ("unet_ms", "period_ms", "between_ms"))
        figures = (f"{each:.2f}" for each in (took, period, overhead_ms(repeats), between))
        rows.append([f"`{unet}`", cost, f"{count}", *figures])
    return table((*titles, "outside the call, ms"), rows)


def stepping_targets(runs: Sequence[SteppingRun]) -> Iterator[Target]:
    """Return the targets on the network of fixed cost."""
    mine = compared(runs, "fixed")
    counts = concurrencies(mine)
    for arrival in ARRIVALS:
        found = {count: median_of(select(mine, BATCHER, arrival, count), "ramped_ratio") for count in counts}
        yield Target(
            f"samples a call once ramped up, {arrival}: {RATIO_AIM:g} x min(requests, {SLOTS})",
            ", ".join(f"{ratio:.2f} at {count}" for count, ratio in found.items()),
            all(ratio >= RATIO_AIM * min(count, SLOTS) for count, ratio in found.items()),
        )
    for unet, cost, count, repeats in _overhead_cells(runs):
        if cost != "0":
            aim = f"overhead a step, `{unet}`, batch {count}: at most {OVERHEAD_AIMS_MS[count]:g} ms"
            yield Target(aim, f"{overhead_ms(repeats):.2f} ms", overhead_ms(repeats) <= OVERHEAD_AIMS_MS[count])
    for arrival in ARRIVALS if {1, SLOTS} <= set(counts) else ():
        one, many = (percentile(latencies_ms(select(mine, BATCHER, arrival, count)), 0.5) for count in (1, SLOTS))
        yield Target(
            f"latency p50 at {SLOTS} requests, {arrival}: at most {LATENCY_AIM:g} x that of one",
            f"{many / one:.2f} x ({many / 1e3:.2f} s and {one / 1e3:.2f} s)",
            many <= LATENCY_AIM * one,
        )


def select_views(runs: Sequence[ManyViewsRun], way: str, caches: str) -> list[ManyViewsRun]:
    """Return all repeats of one cell."""
    return [run for run in runs if (run.way, run.caches) == (way, caches)]


def _other_calls(runs: Sequence[ManyViewsRun]) -> dict[str, float]:
    """Calls of each network that is no UNet, medians."""
    each = [dict(pair.split("=") for pair in run.other_calls.split()) for run in runs]
    return {name: statistics.median(int(calls[name]) for calls in each) for name in each[0]}


def _views(runs: Sequence[ManyViewsRun]) -> list[str]:
    unets, rows = ("zero123_unet", "inpaint_unet"), []
    for way in VIEW_WAYS:
        for caches in CACHES:
            mine = select_views(runs, way, caches)
            counts = [*(median_of(mine, name) for name in ("unet_calls", *unets)), *_other_calls(mine).values()]
            rows.append([way, caches, f"{median_of(mine, 'wall_s'):.2f}", *(f"{count:g}" for count in counts)])
    networks = (f"`{name}`" for name in (*unets, *_other_calls(runs)))
    return table(("way", "caches", "wall, s", "UNet calls", *networks), rows)


def view_targets(runs: Sequence[ManyViewsRun]) -> Iterator[Target]:
    """Return the targets on many views."""
    for way in VIEW_WAYS[1:]:
        for caches in CACHES:
            together, single = select_views(runs, TOGETHER, caches), select_views(runs, way, caches)
            calls, faster = (median_of(single, name) / median_of(together, name) for name in ("unet_calls", "wall_s"))
            against = f"{runs[0].views} views in one request against {runs[0].views} {way}, caches {caches}"
            yield Target(f"{against}: {CALLS_AIM:g} x fewer UNet calls", f"{calls:.1f} x", calls >= CALLS_AIM)
            yield Target(f"{against}: {TIME_AIM:g} x faster", f"{faster:.1f} x", faster >= TIME_AIM)
