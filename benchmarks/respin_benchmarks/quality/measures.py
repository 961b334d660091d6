"""The measures of the report with their baselines and targets: one table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from respin_benchmarks.quality.rows import SceneRow, mean_of

FORMATS = {
    "dB": ("{:.1f}", " dB"),
    "%": ("{:.1%}", ""),
    "IoU": ("{:.3f}", ""),
    "px": ("{:.2f}", " px"),
    "levels": ("{:.1f}", " / 255"),
}
"""Format of a number in each unit, and what follows it."""

DASH = "\N{EN DASH}"
"""In the place of a figure that there is not."""


@dataclass(frozen=True)
class Measure:
    """The mean of one figure over scenes.

    Args:
        name: name of the figure in `SceneRow.figures`.
        stage: the stage that it judges.
        title: the measure in words.
        unit: one of `FORMATS`.
        target: value that the mean has to reach; None if there is none.
        baselines: what else is measured the same way: the figure by its title.
        less_is_better: whether the target is an upper limit.
    """

    name: str
    stage: str
    title: str
    unit: str
    target: float | None = None
    baselines: Mapping[str, str] = field(default_factory=dict)
    less_is_better: bool = False

    def value(self, rows: Sequence[SceneRow]) -> float:
        """Return the mean over the scenes that have the figure."""
        return mean_of(rows, self.name)

    def reaches(self, value: float, limit: float) -> bool:
        """Whether a value is at least as good as a limit; NaN is not."""
        return value <= limit if self.less_is_better else value >= limit

    def met(self, rows: Sequence[SceneRow]) -> bool | None:
        """Whether the target is reached; None without a target or without rows that have the figure."""
        value = self.value(rows)
        return None if self.target is None or math.isnan(value) else self.reaches(value, self.target)

    def text(self, value: float, *, with_unit: bool = True) -> str:
        """Return a value, by default with its unit; `DASH` for NaN."""
        number, unit = FORMATS[self.unit]
        if math.isnan(value):
            return DASH
        return number.format(value) + (unit if with_unit else "")

    @property
    def target_text(self) -> str:
        """The target in words; empty if there is none."""
        if self.target is None:
            return ""
        return f"{'at most' if self.less_is_better else 'at least'} {self.text(self.target)}"


def _beside(name: str) -> dict[str, str]:
    return {"copy": f"{name}_copy", "class mean": f"{name}_class_mean", "VAE ceiling": f"{name}_ceiling"}


_HOLE = {"Telea": "hole_psnr_telea", "Navier-Stokes": "hole_psnr_ns"}
_VIEW_BICUBIC, _SCENE_BICUBIC = ({"bicubic": f"edsr_{what}_bicubic"} for what in ("view", "scene"))
_COMPOSITE = {"photo left alone": "photo_psnr", "true parts": "composite_psnr_ceiling"}
_CLOSER = {"true parts": "closer_ceiling"}
_ERROR = "error of the mean colour"

MEASURES = (
    Measure("found", "detection", "found by its name", "%"),
    Measure("box_iou", "detection", "IoU of the box, 0 if not found", "IoU"),
    Measure("box_close", "detection", "scenes with IoU >= 0.8", "%", 0.95),
    Measure("right_of_two", "detection", "right one of two objects", "%", 0.95),
    Measure("false_box", "detection", "absent name found", "%", 0.05, less_is_better=True),
    Measure("mask_iou", "segmentation", "IoU of the mask", "IoU", 0.9, {"the found box": "box_mask_iou"}),
    Measure("boundary_px", "segmentation", "distance of the edges", "px", less_is_better=True),
    Measure("object_psnr_ceiling", "VAE", "PSNR of the object's pixels", "dB", 24.0),
    Measure("colour_error_ceiling", "VAE", _ERROR, "levels", 4.0, less_is_better=True),
    Measure("vae_scene_psnr", "VAE", "PSNR of a scene", "dB", 28.0),
    Measure("view_psnr", "novel view", "PSNR of the view", "dB", None, _beside("view_psnr")),
    Measure("over_copy", "novel view", "gain over the copy", "dB", 6.0),
    Measure("over_class_mean", "novel view", "gain over the class mean", "dB", 2.0),
    Measure("object_psnr", "novel view", "PSNR of the object's pixels", "dB", None, _beside("object_psnr")),
    Measure("silhouette", "novel view", "IoU of the silhouette", "IoU", 0.88, _beside("silhouette")),
    Measure("colour_error", "novel view", _ERROR, "levels", None, _beside("colour_error"), less_is_better=True),
    Measure("edsr_view_gain", "EDSR", "gain over bicubic on views", "dB", 1.0, _VIEW_BICUBIC),
    Measure("edsr_scene_gain", "EDSR", "gain over bicubic on scenes", "dB", 1.0, _SCENE_BICUBIC),
    Measure("hole_psnr", "inpainting", "PSNR of the hole", "dB", None, _HOLE),
    Measure("fills_better", "inpainting", "holes closer than by both of OpenCV's methods", "%", 0.75),
    Measure("ghost", "inpainting", "how much is left along the object's edge", "%", less_is_better=True),
    Measure("removed", "inpainting", "object no longer detected", "%", 0.95, {"true background": "removed_truth"}),
    Measure("composite_psnr", "whole job", "PSNR near the object", "dB", None, _COMPOSITE),
    Measure("closer", "whole job", "scenes closer to the truth than the photo", "%", 0.9, _CLOSER),
    Measure("stray_px", "whole job", "pixels changed elsewhere, per scene", "px", 0.0, less_is_better=True),
)
"""All measures, in the order of the report."""

BY_NAME = {measure.name: measure for measure in MEASURES}


def missed_targets(rows: Sequence[SceneRow]) -> list[Measure]:
    """Return the measures whose target is not reached."""
    return [measure for measure in MEASURES if measure.met(rows) is False]
