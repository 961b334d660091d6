"""The latency of the stepping as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from respin_benchmarks.plotting import saved_figure
from respin_benchmarks.step_batcher.rows import ARRIVALS, WAYS, SteppingRun
from respin_benchmarks.tables import cells_of, percentiles_of

STYLES = dict(zip(WAYS, (("#1668b8", "o", "-"), ("#c2571a", "s", "--"), ("#8a8a8a", "^", ":")), strict=True))


def draw_latency(runs: Sequence[SteppingRun], path: Path) -> None:
    """Draw p50 of the latency at each number of requests, and up to p95 as a band; a panel for each kind of arrival.

    Args:
        runs: of one network.
        path: of the PNG.
    """
    counts = sorted({run.concurrency for run in runs})
    with saved_figure(path, 8.4, 3.4, dpi=150, font_size=10) as figure:
        panels = figure.subplots(1, len(ARRIVALS), sharey=True)
        for axes, arrival in zip(panels, ARRIVALS, strict=True):
            for way, (colour, marker, line) in STYLES.items():
                mine = [run for run in runs if (run.arrival, run.way) == (arrival, way)]
                cells = [percentiles_of(cell, "latencies_ms") for cell in cells_of(mine, "concurrency")]
                half, most = ([cell[name] / 1e3 for cell in cells] for name in ("p50", "p95"))
                axes.plot(counts, half, color=colour, marker=marker, linestyle=line, label=way)
                axes.fill_between(counts, half, most, color=colour, alpha=0.15, linewidth=0)
            axes.set_xscale("log", base=2)
            axes.set_xticks(counts, [str(count) for count in counts])
            axes.set_title(f"{arrival} arrivals")
            axes.set_xlabel("requests at once")
            axes.grid(axis="y", alpha=0.3)
        panels[0].set_ylim(bottom=0)
        panels[0].set_ylabel("latency, s: p50, shaded to p95")
        panels[0].legend(frameon=False)
