"""The report's pictures: plots of every scene, and a gallery of the first ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from respin.scenes import KINDS, Scene
from respin_benchmarks.quality.jobs import JobOutputs
from respin_benchmarks.quality.rows import SceneRow
from respin_ensemble.imaging.tensors import Picture

GALLERY_SCENES = 12
TILE = (192, 144)
"""Width and height of a gallery's picture, px."""

CAPTION_PX = 16
GALLERY_QUALITY = 88
"""Quality of the WebP file: a fifth of a PNG's size, since the gallery is committed after each measurement."""

COLOURS = ("#9aa7b4", "#1668b8", "#c2571a", "#3a8f5c", "#8457a8", "#d4a72c", "#2aa5a0", "#b03a48")
COLUMNS = ("photo", "mask", "novel view", "background", "composite", "truth")


def draw_figures(rows: Sequence[SceneRow], path: Path) -> None:
    """Draw every scene as a point, the job over its best baseline: points above the line are better.

    Args:
        rows: rows of at least one scene.
        path: path of the WebP file.
    """
    panels = (
        ("novel view, dB", "view_psnr", ("view_psnr_copy", "view_psnr_class_mean"), "copy or class mean"),
        ("hole of the background, dB", "hole_psnr", ("hole_psnr_telea", "hole_psnr_ns"), "Telea or Navier-Stokes"),
        ("composite, dB", "composite_psnr", ("photo_psnr",), "photo left alone"),
    )
    with _saved_figure(path, 11, 4) as figure:
        for axes, (title, ours, others, beside) in zip(figure.subplots(1, len(panels)), panels, strict=True):
            for kind, colour in zip(KINDS, COLOURS, strict=False):
                mine = [row for row in rows if row.kind == kind]
                best = [max(row.figure(name) for name in others) for row in mine]
                axes.plot(best, [row.figure(ours) for row in mine], "o", color=colour, markersize=3, label=kind)
            _diagonal(axes)
            axes.set_title(title)
            axes.set_xlabel(f"{beside}, the closer one" if len(others) > 1 else beside)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)


def _diagonal(axes: Axes) -> None:
    low = min(axes.get_xlim()[0], axes.get_ylim()[0])
    high = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([low, high], [low, high], color="#1b1b1b", linewidth=1)
    axes.grid(alpha=0.3)


def draw_gallery(examples: Sequence[tuple[Scene, JobOutputs | None]], path: Path) -> None:
    """Draw one row per scene: photo, mask, novel view, background, composite, truth.

    Args:
        examples: scenes and what the job made of them, if anything.
        path: path of the WebP file; its folder is made.
    """
    width, height = TILE
    sheet = Image.new("RGB", (len(COLUMNS) * width, CAPTION_PX + len(examples) * (height + CAPTION_PX)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for column, title in enumerate(COLUMNS):
        draw.text((column * width + 4, 0), title, "black", font)
    for row, (scene, outputs) in enumerate(examples):
        top = CAPTION_PX + row * (height + CAPTION_PX)
        for column, picture in enumerate(_pictures(scene, outputs)):
            if picture is not None:
                sheet.paste(_tile(picture), (column * width, top))
        missing = "" if outputs else ": the job returned no picture"
        caption = f"{scene.target.kind}, {scene.azimuth:+.0f} degrees, seed {scene.seed}{missing}"
        draw.text((4, top + height), caption, "black", font)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=GALLERY_QUALITY, method=6)


def _pictures(scene: Scene, outputs: JobOutputs | None) -> list[Picture | None]:
    if outputs is None:
        return [scene.photo, None, None, None, None, scene.turned]
    mask = np.repeat(outputs.mask[..., None], 3, axis=2).astype(np.uint8) * np.uint8(255)
    return [scene.photo, mask, outputs.view, outputs.background, outputs.image, scene.turned]


def _tile(picture: Picture) -> Image.Image:
    """Return a picture fitted into a tile, its proportions kept, grey beside it."""
    tile = Image.new("RGB", TILE, (200, 200, 200))
    fitted = Image.fromarray(picture)
    fitted.thumbnail((TILE[0] - 2, TILE[1] - 2), Image.Resampling.LANCZOS)
    tile.paste(fitted, ((TILE[0] - fitted.width) // 2, (TILE[1] - fitted.height) // 2))
    return tile


@contextmanager
def _saved_figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield a figure of a size in inches, and save it as a lossless WebP file, whose folder is made."""
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, pil_kwargs={"lossless": True, "method": 6})
