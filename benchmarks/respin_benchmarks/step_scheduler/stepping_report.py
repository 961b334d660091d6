"""The stepping's figures as Markdown: tables, and what was aimed at beside what came."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from respin_benchmarks.step_scheduler.ledger import percentile
from respin_benchmarks.step_scheduler.results import Row
from respin_benchmarks.step_scheduler.stepping import ARRIVALS, COST_MS, WAYS

SLOTS = 8
RATIO_AIM, LATENCY_AIM = 0.95, 1.3
OVERHEAD_AIMS_MS = {1: 1.0, 8: 3.0}
NETWORKS = {
    "fixed": f"A network that takes {COST_MS:g} ms a call, whatever the batch",
    "mini": "The mini set's UNet, on ONNX Runtime",
}


@dataclass(frozen=True)
class Target:
    """Something aimed at: what, the figures that came, and whether all of them reach it."""

    what: str
    came: str
    met: bool

    @property
    def line(self) -> str:
        """A row of a Markdown table."""
        return f"| {self.what} | {self.came} | {'met' if self.met else '**missed**'} |"


def compared(rows: Sequence[Row], network: str) -> list[Row]:
    """The runs of Zero123's UNet in which the ways stand beside one another."""
    cost = f"{COST_MS:g}" if network == "fixed" else ""
    return [row for row in rows if (row["network"], row["unet"], row["cost_ms"]) == (network, "zero123_unet", cost)]


def cell(rows: Sequence[Row], way: str, arrival: str, concurrency: int) -> list[Row]:
    """All repeats of one cell."""
    wanted = (way, arrival, str(concurrency))
    return [row for row in rows if (row["way"], row["arrival"], row["concurrency"]) == wanted]


def median(rows: Sequence[Row], column: str) -> float:
    """Of the repeats that have the figure; NaN where none has it."""
    values = [value for row in rows if not math.isnan(value := float(row[column]))]
    return statistics.median(values) if values else math.nan


def latencies_ms(rows: Sequence[Row]) -> list[float]:
    """Of every request of every repeat."""
    return [float(latency) for row in rows for latency in row["latencies_ms"].split()]


def concurrencies(rows: Sequence[Row]) -> list[int]:
    """How many requests there were, rising."""
    return sorted({int(row["concurrency"]) for row in rows})


def comparison(rows: Sequence[Row], network: str) -> Iterator[str]:
    """The lines of one network's table."""
    mine = compared(rows, network)
    yield f"{NETWORKS[network]}; first figure of a pair: simultaneous arrivals; second: staggered ones."
    yield ""
    yield "| requests | way | samples a call, ramped | whole run | steps/s | latency p50, s | p95, s | UNet busy |"
    yield "|---|---|---|---|---|---|---|---|"
    for count in concurrencies(mine):
        for way in WAYS:
            runs = [cell(mine, way, arrival, count) for arrival in ARRIVALS]
            figures = [
                " / ".join(_number(median(each, "ramped_ratio"), 2) for each in runs),
                " / ".join(_number(median(each, "ratio"), 2) for each in runs),
                " / ".join(_number(median(each, "steps_per_s"), 0) for each in runs),
                " / ".join(_number(percentile(latencies_ms(each), 0.5) / 1e3, 2) for each in runs),
                " / ".join(_number(percentile(latencies_ms(each), 0.95) / 1e3, 2) for each in runs),
                " / ".join(f"{median(each, 'busy'):.0%}" for each in runs),
            ]
            yield f"| {count} | {way} | {' | '.join(figures)} |"


def overhead_ms(rows: Sequence[Row]) -> float:
    """What a step takes beside the network: from one call to the next, less a call by the network's own clock, ms.

    Its own clock, because a sleep of 10 ms is late by whatever else the machine does, and no scheduler can help that.
    """
    return statistics.median(float(row["period_ms"]) - float(row["unet_ms"]) for row in rows)


def overhead_cells(rows: Sequence[Row]) -> Iterator[tuple[str, str, int, list[Row]]]:
    """UNet, cost in ms, batch and repeats, wherever the scheduler drives a network of fixed cost."""
    for cost in (f"{COST_MS:g}", "0"):
        for unet in ("zero123_unet", "inpaint_unet"):
            for count in OVERHEAD_AIMS_MS:
                mine = [row for row in rows if (row["unet"], row["cost_ms"]) == (unet, cost)]
                if runs := cell(mine, "scheduler", "simultaneous", count):
                    yield unet, cost, count, runs


def overhead(rows: Sequence[Row]) -> Iterator[str]:
    """The lines of the table of what a step costs beside the network."""
    yield "| UNet | a call costs, ms | batch | took, ms | call to call, ms | overhead, ms | outside the call, ms |"
    yield "|---|---|---|---|---|---|---|"
    for unet, cost, count, runs in overhead_cells(rows):
        yield (
            f"| `{unet}` | {cost} | {count} | {median(runs, 'unet_ms'):.2f} | {median(runs, 'period_ms'):.2f} | "
            f"{overhead_ms(runs):.2f} | {median(runs, 'between_ms'):.2f} |"
        )


def targets(rows: Sequence[Row]) -> Iterator[Target]:
    """What was aimed at with the network of fixed cost."""
    mine = compared(rows, "fixed")
    for arrival in ARRIVALS:
        counts = concurrencies(mine)
        ratios = {count: median(cell(mine, "scheduler", arrival, count), "ramped_ratio") for count in counts}
        yield Target(
            f"samples a call once ramped up, {arrival}: {RATIO_AIM:g} x min(requests, {SLOTS})",
            ", ".join(f"{ratio:.2f} at {count}" for count, ratio in ratios.items()),
            all(ratio >= RATIO_AIM * min(count, SLOTS) for count, ratio in ratios.items()),
        )
    for unet, cost, count, runs in overhead_cells(rows):
        if cost != "0":
            yield Target(
                f"overhead a step, `{unet}`, batch {count}: at most {OVERHEAD_AIMS_MS[count]:g} ms",
                f"{overhead_ms(runs):.2f} ms",
                overhead_ms(runs) <= OVERHEAD_AIMS_MS[count],
            )
    for arrival in ARRIVALS if {1, SLOTS} <= set(concurrencies(mine)) else ():
        one, many = (percentile(latencies_ms(cell(mine, "scheduler", arrival, count)), 0.5) for count in (1, SLOTS))
        yield Target(
            f"latency p50 at {SLOTS} requests, {arrival}: at most {LATENCY_AIM:g} x that of one",
            f"{many / one:.2f} x ({many / 1e3:.2f} s and {one / 1e3:.2f} s)",
            many <= LATENCY_AIM * one,
        )


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
