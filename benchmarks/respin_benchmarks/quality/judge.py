"""What a job returned, compared with the truth of its scene."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from respin.geometry import Placement, Size, blend, bounding_box, square_around
from respin.model_set import Sizes
from respin.request import DEFAULTS
from respin.scenes import Scene, ViewPair
from respin_benchmarks.quality.jobs import JobOutputs
from respin_benchmarks.quality.metrics import (
    boundary_error_px,
    box_iou,
    downscale,
    ghost,
    mask_iou,
    psnr_db,
    view_figures,
)
from respin_ensemble.imaging.masks import dilate, feather_inside
from respin_ensemble.imaging.tensors import Mask, Picture
from respin_ensemble.stages.composition import EDGE_PX, paste
from respin_ensemble.stages.inpainting import FEATHER_SHARE

DILATE_PX = int(DEFAULTS["dilate_px"])
"""Growth of a mask to the region that is judged, whatever the request asked for."""

GHOST_REACH_PX = 3
"""How far outside the object's mask a background is searched for what is left of it."""

NOT_FOUND = {"found": 0.0, "box_iou": 0.0, "box_close": 0.0, "closer": 0.0}
"""The figures of a job that returned no picture."""

CLOSE_IOU = 0.8
"""Least IoU of a box that counts as found closely."""

CV2_RADIUS_PX = 3
"""`inpaintRadius` of OpenCV's samples."""

CV2_METHODS = {"telea": cv2.INPAINT_TELEA, "ns": cv2.INPAINT_NS}

ENLARGEMENT = 4
"""Enlargement of EDSR in each direction."""


def judge_outputs(
    scene: Scene, outputs: JobOutputs | None, pair: ViewPair, baselines: Mapping[str, Picture], sizes: Sizes
) -> dict[str, float]:
    """Return the figures that a job's outputs decide.

    Args:
        scene: the scene whose photo was sent.
        outputs: outputs of the job; None if it found no object, or failed.
        pair: `scene.views` at the sizes of the set.
        baselines: baselines of the novel view, (side, side, 3) uint8 by the suffix of their figures.
        sizes: sizes of the set.
    """
    figures = {
        f"{figure}_{name}": value
        for name, picture in baselines.items()
        for figure, value in view_figures(picture, pair.after, pair.after_mask).items()
    }
    if outputs is None:
        return {**NOT_FOUND, **figures}
    view = downscale(outputs.view, sizes.view_side, sizes.view_side)
    figures |= view_figures(view, pair.after, pair.after_mask)
    figures |= {f"over_{name}": figures["view_psnr"] - figures[f"view_psnr_{name}"] for name in baselines}
    return {
        **_outline_figures(scene, outputs),
        **figures,
        **_background_figures(scene, outputs),
        **_composite_figures(scene, outputs),
        "stray_px": float(stray_pixels(scene.photo, outputs, sizes)),
    }


def _outline_figures(scene: Scene, outputs: JobOutputs) -> dict[str, float]:
    truth = scene.target
    filled = np.zeros_like(truth.mask)
    x0, y0, x1, y1 = (max(0, round(edge)) for edge in outputs.box.to_array().tolist())
    filled[y0:y1, x0:x1] = True
    overlap = box_iou(outputs.box, truth.box)
    return {
        "found": 1.0,
        "score": outputs.score,
        "box_iou": overlap,
        "box_close": float(overlap >= CLOSE_IOU),
        "mask_iou": mask_iou(outputs.mask, truth.mask),
        "box_mask_iou": mask_iou(filled, truth.mask),
        "boundary_px": boundary_error_px(outputs.mask, truth.mask),
    }


def _background_figures(scene: Scene, outputs: JobOutputs) -> dict[str, float]:
    """Return the figures of the background beside `cv2.inpaint` on the same photo and hole, with the same edge."""
    hole = dilate(outputs.mask, DILATE_PX)
    opacity = feather_inside(hole, DILATE_PX * FEATHER_SHARE)
    figures = {
        "hole_psnr": psnr_db(outputs.background, scene.background, hole),
        "ghost": ghost(outputs.background, scene.photo, scene.background, scene.target.mask, GHOST_REACH_PX),
    }
    for name, method in CV2_METHODS.items():
        filled = np.asarray(cv2.inpaint(scene.photo, hole.astype(np.uint8), CV2_RADIUS_PX, method), np.uint8)
        figures[f"hole_psnr_{name}"] = psnr_db(blend(scene.photo, filled, opacity), scene.background, hole)
    best = max(figures[f"hole_psnr_{name}"] for name in CV2_METHODS)
    return {**figures, "fills_better": float(figures["hole_psnr"] > best)}


def _composite_figures(scene: Scene, outputs: JobOutputs) -> dict[str, float]:
    ours, photo = (psnr_db(picture, scene.turned, near_object(scene)) for picture in (outputs.image, scene.photo))
    return {"composite_psnr": ours, "photo_psnr": photo, "closer": float(ours > photo)}


def composite_ceiling(scene: Scene, large: ViewPair, sizes: Sizes) -> dict[str, float]:
    """Return what the composition reaches with the true view, mask and background: it adds no shadow.

    Args:
        scene: to compose.
        large: `scene.views` at the size of the enlarged view.
        sizes: sizes of the set.
    """
    square = square_around(bounding_box(scene.target.mask), sizes.object_share)
    ideal = paste(
        scene.background, large.after, large.after_mask, square=square, box=scene.target.box, fit=DEFAULTS["fit"]
    )
    best, photo = (psnr_db(picture, scene.turned, near_object(scene)) for picture in (ideal, scene.photo))
    return {"composite_psnr_ceiling": best, "closer_ceiling": float(best > photo)}


def near_object(scene: Scene) -> Mask:
    """Return the (H, W) bool pixels in which composites are compared: where the object is or was, grown."""
    return dilate(scene.target.mask | scene.turned_mask, DILATE_PX)


def stray_pixels(photo: Picture, outputs: JobOutputs, sizes: Sizes) -> int:
    """Count the pixels that differ where a job has to leave them as they are.

    The background may differ from the photo inside the grown mask, the composite from the background where the view
    can lie: in the square that the view stands for, its object centred on the box.

    Args:
        photo: (H, W, 3) uint8.
        outputs: outputs of the job on it, with `fit` "view" and the default `dilate_px`.
        sizes: sizes of the set.
    """
    repainted = (outputs.background != photo).any(axis=2) & ~dilate(outputs.mask, DILATE_PX)
    pasted = (outputs.image != outputs.background).any(axis=2) & ~_reach_of_view(outputs, sizes)
    return int((repainted | pasted).sum())


def _reach_of_view(outputs: JobOutputs, sizes: Sizes) -> Mask:
    square = square_around(bounding_box(outputs.mask), sizes.object_share)
    scale = square.width / (ENLARGEMENT * sizes.view_side)
    # The place of the pasted view is rounded to whole pixels at each end.
    reach = square.width / 2 + EDGE_PX * scale + 2
    left, top = (int(centre - reach) for centre in outputs.box.centre)
    side = int(2 * reach) + 2
    covered = np.zeros_like(outputs.mask)
    covered[Placement(left, top, side, side).within(Size.from_array(covered))] = True
    return covered
