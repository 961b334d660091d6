"""Compare the pictures of a job with the ground truth of a rendered scene."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from respin.bundled import bundled_path
from respin.model_set import ModelSet
from respin.scenes import Scene
from respin_client.results import EncodedImage

VIEW_PX = 256
"""Side at which novel views of any set are compared, px."""


def mini_object_share() -> float:
    """Return the share of a view that the mini set's object fills: rendered scenes are what that set knows."""
    return ModelSet.load(bundled_path("models/mini")).sizes.object_share


def figures(scene: Scene, made: Mapping[str, EncodedImage]) -> list[str]:
    """Compare the pictures of a job with the truth, each beside the score of an unchanged picture.

    Args:
        scene: the scene whose photo was sent.
        made: the job's pictures by name: "mask", "novel_view-0", "background" and "generated".

    Returns:
        One sentence for each picture.
    """
    mask = np.asarray(made["mask"].pil().convert("L")) > 127
    view = np.asarray(made["novel_view-0"].pil().convert("RGB").resize((VIEW_PX, VIEW_PX), Image.Resampling.BOX))
    background, composite = (np.asarray(made[name].pil().convert("RGB")) for name in ("background", "generated"))
    views = scene.views(side=VIEW_PX, object_share=mini_object_share())
    hole = scene.target.mask
    changed = hole | scene.turned_mask
    return [
        f"mask: IoU {iou(mask, hole):.3f} with the true mask",
        _beside("novel view", psnr(view, views.after), "the photo's own view", psnr(views.before, views.after)),
        _beside(
            "background where the object was",
            psnr(background[hole], scene.background[hole]),
            "the photo left alone",
            psnr(scene.photo[hole], scene.background[hole]),
        ),
        _beside(
            "composite where the object was or is",
            psnr(composite[changed], scene.turned[changed]),
            "the photo left alone",
            psnr(scene.photo[changed], scene.turned[changed]),
        ),
    ]


def psnr(picture: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio of 8-bit pixels, dB; infinite if they are equal."""
    error = float(np.mean((picture.astype(np.float64) - truth) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def iou(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the intersection over union of two masks, not both empty."""
    return float((mask & truth).sum() / (mask | truth).sum())


def _beside(what: str, ours_db: float, baseline: str, baseline_db: float) -> str:
    return f"{what}: PSNR {ours_db:.1f} dB to the truth ({baseline}: {baseline_db:.1f} dB)"
