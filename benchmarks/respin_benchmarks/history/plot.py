"""The ratios through time as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from respin_benchmarks.history.ratios import Ratio

STYLE: Any = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
COLUMNS = 3
LINE = "#1668b8"


def draw_history(ratios: Sequence[Ratio], path: Path) -> None:
    """Draw one panel a benchmark: the median of each commit, and from its least repeat to its greatest.

    Args:
        ratios: at least one; each benchmark's in the order of time.
        path: of the PNG; its folder is made.
    """
    names = list(dict.fromkeys(ratio.what for ratio in ratios))
    lines = -(-len(names) // COLUMNS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 2.3 * lines), dpi=130, layout="constrained")
        panels = list(figure.subplots(lines, COLUMNS, squeeze=False).flat)
        for axes, name in zip(panels, names, strict=False):
            mine = [ratio for ratio in ratios if ratio.what == name]
            medians = [ratio.median for ratio in mine]
            below = [ratio.median - ratio.least for ratio in mine]
            above = [ratio.greatest - ratio.median for ratio in mine]
            axes.errorbar(range(len(mine)), medians, yerr=(below, above), color=LINE, marker="o", capsize=3)
            axes.set_xticks(range(len(mine)), [ratio.commit.split()[0] for ratio in mine])
            axes.set_ylim(0, 1.1 * max(ratio.greatest for ratio in mine))
            axes.set_xlim(-0.5, len(mine) - 0.5)
            axes.grid(axis="y", alpha=0.3)
            axes.set_title(name)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without the version that the file would carry: the same figures make the same picture.
        figure.savefig(path, metadata={"Software": None})
