"""The section on the step batcher, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from respin.report.rows import read_rows
from respin_benchmarks.runner import PageReport
from respin_benchmarks.step_batcher.rows import ARRIVALS, BATCHER, TOGETHER, ManyViewsRun, SteppingRun
from respin_benchmarks.tables import Repeats, cell_table, cells_of, medians_of, percentiles_of, where_text
from respin_benchmarks.targets import Target, target_table, verdict

STEPPING, VIEWS = "step_batcher.csv", "many_views.csv"
SLOTS = 8
RATIO_TARGET, LATENCY_TARGET = 0.95, 1.3
OVERHEAD_TARGETS_MS = {1: 1.0, 8: 3.0}
CALLS_TARGET, TIME_TARGET = 3.0, 2.0
COMPARED_COLUMNS = {
    "requests": "{concurrency:g}",
    "way": "{way}",
    "samples a call": "{simultaneous.ramped_ratio:.2f} / {staggered.ramped_ratio:.2f}",
    "steps/s": "{simultaneous.steps_per_s:.0f} / {staggered.steps_per_s:.0f}",
    "latency p50, ms": "{simultaneous.p50:.0f} / {staggered.p50:.0f}",
    "p95": "{simultaneous.p95:.0f} / {staggered.p95:.0f}",
}
OVERHEAD_COLUMNS = {
    "UNet": "`{unet}`",
    "batch": "{concurrency:g}",
    "call to call, ms": "{period_ms:.2f}",
    "the call itself": "{unet_ms:.2f}",
    "overhead": "{overhead_ms:.2f}",
    "target: at most": "{target_ms:g}",
    "": "{verdict}",
}
VIEW_COLUMNS = {
    "way": "{way}",
    "wall, s": "{wall_s:.2f}",
    "UNet calls": "{unet_calls:g}",
    f"calls, to one request's (target: {CALLS_TARGET:g} x)": "{calls:.1f} x",
    f"wall, to one request's (target: {TIME_TARGET:g} x)": "{slower:.1f} x",
    "": "{verdict}",
}


def page_of(steppings: Sequence[SteppingRun], views: Sequence[ManyViewsRun]) -> str:
    """Return the section, given at least one repeat of every cell."""
    lines = [
        f"Stepping: {_repeats(steppings)}, {where_text(steppings)}. Views: {_repeats(views)}, {where_text(views)}.",
        "",
        "### Continuous batching against independent loops",
        "",
        *target_table(stepping_targets(steppings)),
        "",
        "First figure of a pair: simultaneous arrivals; second: staggered ones.",
        "",
        *cell_table(COMPARED_COLUMNS, cells_of(zero123_runs(steppings), "concurrency", "way"), _by_arrival),
        "",
        "### What a step costs beside the network",
        "",
        *_overhead(steppings),
        "",
        f"### {views[0].views} views of one photo",
        "",
        *_views(views),
    ]
    return "\n".join(lines) + "\n"


def _repeats(runs: Sequence[SteppingRun] | Sequence[ManyViewsRun]) -> str:
    return f"{1 + max(run.repeat for run in runs)} repeats"


def zero123_runs(runs: Sequence[SteppingRun]) -> list[SteppingRun]:
    """Return the runs of Zero123's UNet, in which the ways were measured beside one another."""
    return [run for run in runs if run.unet == "zero123_unet"]


def _by_arrival(cell: Sequence[SteppingRun]) -> dict[str, Any]:
    arrivals = {arrival: [run for run in cell if run.arrival == arrival] for arrival in ARRIVALS}
    return {
        arrival: SimpleNamespace(**medians_of(mine), **percentiles_of(mine, "latencies_ms"))
        for arrival, mine in arrivals.items()
    }


def _overhead(runs: Sequence[SteppingRun]) -> list[str]:
    """From call to call, less a call by the network's own clock: no batcher can change how late a sleep is."""

    def more(cell: Sequence[SteppingRun]) -> dict[str, Any]:
        overhead_ms = Repeats(run.period_ms - run.unet_ms for run in cell)
        target_ms = OVERHEAD_TARGETS_MS[cell[0].concurrency]
        return {"overhead_ms": overhead_ms, "target_ms": target_ms, "verdict": verdict(overhead_ms <= target_ms)}

    mine = [run for run in runs if (run.way, run.arrival) == (BATCHER, "simultaneous")]
    cells = cells_of((run for run in mine if run.concurrency in OVERHEAD_TARGETS_MS), "unet", "concurrency")
    return cell_table(OVERHEAD_COLUMNS, cells, more)


def stepping_targets(runs: Sequence[SteppingRun]) -> Iterator[Target]:
    """Return the targets of the step batcher."""
    mine = [run for run in zero123_runs(runs) if run.way == BATCHER]
    for arrival in ARRIVALS:
        cells = {cell[0].concurrency: _by_arrival(cell)[arrival] for cell in cells_of(mine, "concurrency")}
        yield Target(
            f"samples a call once ramped up, {arrival}: {RATIO_TARGET:g} x min(requests, {SLOTS})",
            ", ".join(f"{cell.ramped_ratio:.2f} at {count}" for count, cell in cells.items()),
            all(cell.ramped_ratio >= RATIO_TARGET * min(count, SLOTS) for count, cell in cells.items()),
        )
        one_ms, many_ms = (cells[count].p50 for count in (1, SLOTS))
        yield Target(
            f"latency p50 at {SLOTS} requests, {arrival}: at most {LATENCY_TARGET:g} x that of one",
            f"{many_ms / one_ms:.2f} x",
            many_ms <= LATENCY_TARGET * one_ms,
        )


def _views(runs: Sequence[ManyViewsRun]) -> list[str]:
    together = medians_of([run for run in runs if run.way == TOGETHER])

    def more(cell: Sequence[ManyViewsRun]) -> dict[str, Any]:
        calls, slower = (medians_of(cell)[name] / together[name] for name in ("unet_calls", "wall_s"))
        met = verdict(calls >= CALLS_TARGET and slower >= TIME_TARGET)
        return {"calls": calls, "slower": slower, "verdict": "" if cell[0].way == TOGETHER else met}

    return cell_table(VIEW_COLUMNS, cells_of(runs, "way"), more)


def text_of(results: Path) -> str:
    """Return the section from the folder of results."""
    return page_of(read_rows(results / STEPPING, SteppingRun), read_rows(results / VIEWS, ManyViewsRun))


STEP_BATCHER = PageReport("step_batcher", text_of)
