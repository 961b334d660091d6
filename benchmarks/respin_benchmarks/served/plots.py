"""The runs as pictures."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from respin.contracts.networks import ZERO123_UNET
from respin.report.statistics import percentile
from respin_benchmarks.plotting import saved_figure
from respin_benchmarks.served.page import latencies_s, load_cells_of
from respin_benchmarks.served.rows import LoadRun, batches_from_text

STYLES = (("#1668b8", "o"), ("#c2571a", "s"), ("#4d8a4d", "^"))
UNET_TITLES = {"zero123_batches": "Zero123's UNet", "inpaint_batches": "the inpainting's UNet"}


def draw_load(runs: Sequence[LoadRun], path: Path) -> None:
    """Draw p50 of the latency over the throughput, a line up to p95; a curve per profile, and the open loops' points.

    Args:
        runs: of at least one job that was answered.
        path: of the PNG.
    """
    cells = [cell for cell in load_cells_of(runs) if latencies_s(cell)]
    with saved_figure(path, 8.4, 4.0) as figure:
        axes = figure.subplots()
        profiles = dict.fromkeys(cell[0].profile for cell in cells)
        for profile, (colour, marker) in zip(profiles, STYLES, strict=False):
            mine = [cell for cell in cells if cell[0].profile == profile]
            closed = [cell for cell in mine if cell[0].concurrency]
            opened = [cell for cell in mine if not cell[0].concurrency]
            _curve(axes, closed, colour, fmt=f"{marker}-", label=f"{profile}, so many at once")
            _curve(axes, opened, colour, fmt=f"{marker}", label=f"{profile}, at a rate", markerfacecolor="white")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.set_xlabel("images/s")
        axes.set_ylabel("latency, s: p50, line to p95")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right center", frameon=False)


def _curve(axes: Axes, cells: Sequence[Sequence[LoadRun]], colour: str, *, fmt: str, label: str, **style: Any) -> None:
    if not cells:
        return
    images_s = [statistics.median(run.images_s for run in cell) for cell in cells]
    halves, most = ([percentile(latencies_s(cell), share) for cell in cells] for share in (0.5, 0.95))
    up = [high - half for high, half in zip(most, halves, strict=True)]
    axes.errorbar(
        images_s, halves, yerr=[[0.0] * len(up), up], fmt=fmt, color=colour, label=label, elinewidth=1, **style
    )
    for cell, x, y in zip(cells, images_s, halves, strict=True):
        text = f"{cell[0].concurrency}" if cell[0].concurrency else f"{cell[0].rate_share:.0%}"
        axes.annotate(text, (x, y), textcoords="offset points", xytext=(6, -10), color=colour, fontsize=8)


def draw_batches(runs: Sequence[LoadRun], path: Path) -> None:
    """Draw which share of a UNet's calls had how many samples: a bar per closed loop, a panel per profile and UNet.

    Args:
        runs: of at least one closed loop.
        path: of the PNG.
    """
    cells = [cell for cell in load_cells_of(runs) if cell[0].concurrency]
    profiles = list(dict.fromkeys(cell[0].profile for cell in cells))
    with saved_figure(path, 4.0 * len(profiles) + 1, 5.0) as figure:
        panels = figure.subplots(len(UNET_TITLES), len(profiles), sharex=True, sharey=True, squeeze=False)
        for row, (column, title) in zip(panels, UNET_TITLES.items(), strict=True):
            for axes, profile in zip(row, profiles, strict=True):
                _bars(axes, [cell for cell in cells if cell[0].profile == profile], column)
                axes.set_title(f"{title}, {profile}", fontsize=9)
        for axes in panels[-1]:
            axes.set_xlabel("jobs at once")
        for axes in panels[:, 0]:
            axes.set_ylabel("share of the calls")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, title="samples\na call", loc="outside right center", frameon=False)


def _bars(axes: Axes, cells: Sequence[Sequence[LoadRun]], column: str) -> None:
    counts = []
    for cell in cells:
        counts.append(Counter[int]())
        for run in cell:
            counts[-1].update(batches_from_text(getattr(run, column)))
    colours, bottoms, places = mpl.colormaps["viridis"], [0.0] * len(cells), range(len(cells))
    for size in range(1, ZERO123_UNET.max_batch_size + 1):
        shares = [count[size] / max(1, count.total()) for count in counts]
        colour = colours((size - 1) / (ZERO123_UNET.max_batch_size - 1))
        axes.bar(places, shares, bottom=bottoms, color=colour, label=f"{size}")
        bottoms = [bottom + share for bottom, share in zip(bottoms, shares, strict=True)]
    axes.set_xticks(places, [f"{cell[0].concurrency}" for cell in cells])
