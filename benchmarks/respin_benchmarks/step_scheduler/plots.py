"""The stepping's figures as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from respin_benchmarks.step_scheduler.ledger import percentile
from respin_benchmarks.step_scheduler.results import Row
from respin_benchmarks.step_scheduler.stepping import ARRIVALS, WAYS
from respin_benchmarks.step_scheduler.stepping_report import (
    SLOTS,
    cell,
    compared,
    concurrencies,
    latencies_ms,
    median,
)

STYLES = {
    "scheduler": ("#1668b8", "o", "-"),
    "loops": ("#c2571a", "s", "--"),
    "loops, delay 5 ms": ("#8a8a8a", "^", ":"),
}

Draw = Callable[[Axes, list[Row], str], None]


def draw_latency(rows: Sequence[Row], path: Path) -> None:
    """p50 of the latency at each number of requests, and up to p95 as a band; lower is better."""

    def curves(axes: Axes, runs: list[Row], arrival: str) -> None:
        counts = concurrencies(runs)
        for way in WAYS:
            colour, marker, line = STYLES[way]
            spread = [latencies_ms(cell(runs, way, arrival, count)) for count in counts]
            half, most = ([percentile(each, share) / 1e3 for each in spread] for share in (0.5, 0.95))
            axes.plot(counts, half, color=colour, marker=marker, linestyle=line, label=way)
            axes.fill_between(counts, half, most, color=colour, alpha=0.15, linewidth=0)
        axes.set_ylim(bottom=0)

    _draw(compared(rows, "fixed"), path, "latency, s: p50, shaded to p95", curves)


def draw_ratio(rows: Sequence[Row], path: Path) -> None:
    """Samples that shared a call while all requests were under way; higher is better."""

    def curves(axes: Axes, runs: list[Row], arrival: str) -> None:
        counts = concurrencies(runs)
        best = [min(count, SLOTS) for count in counts]
        axes.plot(counts, best, color="#bbbbbb", linewidth=5, solid_capstyle="round", label="all that fit", zorder=0)
        for way in WAYS:
            colour, marker, line = STYLES[way]
            shared = [median(cell(runs, way, arrival, count), "ramped_ratio") for count in counts]
            axes.plot(counts, shared, color=colour, marker=marker, linestyle=line, label=way)
        axes.set_ylim(0, SLOTS + 0.8)

    _draw(compared(rows, "fixed"), path, "samples a UNet call", curves)


def _draw(rows: list[Row], path: Path, label: str, curves: Draw) -> None:
    """A panel for each kind of arrival."""
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(8.4, 3.4), dpi=150, layout="constrained")
        panels = figure.subplots(1, len(ARRIVALS), sharey=True)
        for axes, arrival in zip(panels, ARRIVALS, strict=True):
            curves(axes, rows, arrival)
            axes.set_xscale("log", base=2)
            axes.set_xticks(concurrencies(rows), [str(count) for count in concurrencies(rows)])
            axes.set_title(f"{arrival} arrivals")
            axes.set_xlabel("requests at once")
            axes.grid(axis="y", alpha=0.3)
        panels[0].set_ylabel(label)
        panels[0].legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without the date and the version that the file would carry: the same figures make the same picture.
        figure.savefig(path, metadata={"Software": None})
