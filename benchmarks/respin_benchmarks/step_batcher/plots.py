"""The stepping's figures as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from respin.report.statistics import percentile
from respin_benchmarks.plotting import saved_figure
from respin_benchmarks.step_batcher.cells import ARRIVALS, WAYS
from respin_benchmarks.step_batcher.page import SLOTS, compared, concurrencies, latencies_ms, median_of, select
from respin_benchmarks.step_batcher.rows import SteppingRun

STYLES = dict(zip(WAYS, (("#1668b8", "o", "-"), ("#c2571a", "s", "--"), ("#8a8a8a", "^", ":")), strict=True))

Draw = Callable[[Axes, list[SteppingRun], str], None]


def draw_latency(runs: Sequence[SteppingRun], path: Path) -> None:
    """Draw p50 of the latency at each number of requests, and up to p95 as a band; lower is better."""

    def curves(axes: Axes, mine: list[SteppingRun], arrival: str) -> None:
        counts = concurrencies(mine)
        for way, (colour, marker, line) in STYLES.items():
            cells = [latencies_ms(select(mine, way, arrival, count)) for count in counts]
            half, most = ([percentile(each, share) / 1e3 for each in cells] for share in (0.5, 0.95))
            axes.plot(counts, half, color=colour, marker=marker, linestyle=line, label=way)
            axes.fill_between(counts, half, most, color=colour, alpha=0.15, linewidth=0)
        axes.set_ylim(bottom=0)

    _draw(compared(runs, "fixed"), path, "latency, s: p50, shaded to p95", curves)


def draw_ratio(runs: Sequence[SteppingRun], path: Path) -> None:
    """Draw the samples per call while all requests were under way; higher is better."""

    def curves(axes: Axes, mine: list[SteppingRun], arrival: str) -> None:
        counts = concurrencies(mine)
        best = [min(count, SLOTS) for count in counts]
        axes.plot(counts, best, color="#bbbbbb", linewidth=5, solid_capstyle="round", label="all that fit", zorder=0)
        for way, (colour, marker, line) in STYLES.items():
            shared = [median_of(select(mine, way, arrival, count), "ramped_ratio") for count in counts]
            axes.plot(counts, shared, color=colour, marker=marker, linestyle=line, label=way)
        axes.set_ylim(0, SLOTS + 0.8)

    _draw(compared(runs, "fixed"), path, "samples a UNet call", curves)


def _draw(runs: list[SteppingRun], path: Path, label: str, curves: Draw) -> None:
    """Draw a panel for each kind of arrival."""
    with saved_figure(path, 8.4, 3.4, dpi=150, font_size=10) as figure:
        panels = figure.subplots(1, len(ARRIVALS), sharey=True)
        for axes, arrival in zip(panels, ARRIVALS, strict=True):
            curves(axes, runs, arrival)
            axes.set_xscale("log", base=2)
            axes.set_xticks(concurrencies(runs), [str(count) for count in concurrencies(runs)])
            axes.set_title(f"{arrival} arrivals")
            axes.set_xlabel("requests at once")
            axes.grid(axis="y", alpha=0.3)
        panels[0].set_ylabel(label)
        panels[0].legend(frameon=False)
