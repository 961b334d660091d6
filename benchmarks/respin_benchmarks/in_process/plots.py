"""Where the time of one job goes, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from respin_benchmarks.in_process.rows import Interval

ROWS = (
    "decoding",
    "detection",
    "segmentation",
    "background",
    "inpaint_unet",
    "zero123_unet",
    "super_resolution",
    "outline of a view",
    "composition",
)
COLOURS = {"inpaint_unet": "#c2571a", "zero123_unet": "#1668b8"}
STAGE = "#9aa7b4"


def draw_jobs(jobs: Mapping[str, Sequence[Interval]], path: Path) -> None:
    """Draw one panel a runtime: stages as bars, each call of a UNet as a stroke in its bar.

    Args:
        jobs: what one job did, by runtime.
        path: of the PNG; its folder is made.
    """
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 0.6 + 2.5 * len(jobs)), dpi=130, layout="constrained")
        panels = figure.subplots(len(jobs), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (runtime, intervals) in zip(panels, jobs.items(), strict=True):
            for place, name in enumerate(ROWS):
                spans = [(each.began_s, each.ended_s - each.began_s) for each in intervals if each.name == name]
                axes.broken_barh(spans, (place - 0.35, 0.7), color=COLOURS.get(name, STAGE), linewidth=0)
            axes.set_yticks(range(len(ROWS)), ROWS)
            axes.invert_yaxis()
            axes.grid(axis="x", alpha=0.3)
            axes.set_title(runtime)
        panels[-1].set_xlabel("s since the photo came")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without the version that the file would carry: the same figures make the same picture.
        figure.savefig(path, metadata={"Software": None})
