"""The load as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from respin_benchmarks.plotting import saved_figure
from respin_benchmarks.served.page import load_cells_of
from respin_benchmarks.served.rows import LoadRun
from respin_benchmarks.tables import medians_of, percentiles_of

STYLES = (("#1668b8", "o"), ("#c2571a", "s"), ("#4d8a4d", "^"))


def draw_load(runs: Sequence[LoadRun], path: Path) -> None:
    """Draw p50 of the latency over the throughput, a line up to p95; a curve per profile.

    Args:
        runs: each of at least one job that was answered.
        path: of the PNG.
    """
    with saved_figure(path, 8.4, 4.0) as figure:
        axes = figure.subplots()
        for profile, (colour, marker) in zip(dict.fromkeys(run.profile for run in runs), STYLES, strict=False):
            cells = load_cells_of([run for run in runs if run.profile == profile])
            images_s = [medians_of(cell)["images_s"] for cell in cells]
            shares = [percentiles_of(cell, "latencies_s") for cell in cells]
            half, up = [each["p50"] for each in shares], [each["p95"] - each["p50"] for each in shares]
            axes.errorbar(images_s, half, yerr=[[0.0] * len(up), up], fmt=f"{marker}-", color=colour, label=profile)
            for cell, x, y in zip(cells, images_s, half, strict=True):
                place: Any = {"textcoords": "offset points", "xytext": (6, -10), "color": colour, "fontsize": 8}
                axes.annotate(f"{cell[0].concurrency} at once", (x, y), **place)
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.set_xlabel("images/s")
        axes.set_ylabel("latency, s: p50, line to p95")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
