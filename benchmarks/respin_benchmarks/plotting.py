"""The look of all plots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

UNET_COLOURS = {"inpaint_unet": "#c2571a", "zero123_unet": "#1668b8"}
NEUTRAL, DARK = "#9aa7b4", "#1b1b1b"
STYLE: Any = {"axes.spines.top": False, "axes.spines.right": False}


@contextmanager
def saved_figure(path: Path, width: float, height: float, *, dpi: int = 130, font_size: int = 9) -> Iterator[Figure]:
    """Yield a figure of a size in inches, and save it as a PNG file, whose folder is made."""
    with mpl.rc_context({**STYLE, "font.size": font_size}):
        figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without the version that the file would have: the same figures make the same picture.
        figure.savefig(path, metadata={"Software": None})
