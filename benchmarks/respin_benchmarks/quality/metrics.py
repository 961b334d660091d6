"""Distances between pictures, masks and boxes and their truth."""

from __future__ import annotations

import cv2
import numpy as np

from respin.geometry import Box
from respin_ensemble.imaging.tensors import Mask, Picture

MOST_DB = 99.0
"""PSNR of two pictures that are the same, so that means stay finite."""

NEAR_WHITE = 232
"""A pixel with a channel below this belongs to the silhouette of an object on white. Decoded latents are white only to
within some twenty levels."""


def psnr_db(picture: Picture, truth: Picture, where: Mask | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB, at most `MOST_DB`.

    Args:
        picture: (H, W, 3) uint8.
        truth: (H, W, 3) uint8.
        where: (H, W) bool, the pixels to compare; None compares all. NaN if none is true.
    """
    difference = picture.astype(np.float32) - truth
    squares = difference**2 if where is None else difference[where] ** 2
    if squares.size == 0:
        return float("nan")
    error = float(squares.mean(dtype=np.float64))
    return MOST_DB if error == 0 else min(MOST_DB, float(10 * np.log10(255**2 / error)))


def mask_iou(one: Mask, other: Mask) -> float:
    """Return the intersection over union of two (H, W) bool masks; 0 if both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 0.0


def box_iou(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes of the same frame."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    shared = max(0.0, width) * max(0.0, height)
    union = one.width * one.height + other.width * other.height - shared
    return shared / union if union > 0 else 0.0


def boundary_error_px(mask: Mask, truth: Mask) -> float:
    """Return the mean distance between the edges of two masks, both ways, in pixels.

    Args:
        mask: (H, W) bool.
        truth: (H, W) bool.

    Returns:
        The mean over the edge pixels of both; NaN if a mask has no edge.
    """
    edges = [_edge(mask), _edge(truth)]
    if not all(edge.any() for edge in edges):
        return float("nan")
    distances = [
        cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[edge]
        for edge, other in zip(edges, reversed(edges), strict=True)
    ]
    return float(np.concatenate(distances).mean())


def _edge(mask: Mask) -> Mask:
    """Return the pixels of a mask with a neighbour outside it; the border of the picture is no edge."""
    return mask & ~cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)


def ghost(background: Picture, photo: Picture, truth: Picture, mask: Mask, reach_px: int) -> float:
    """Return how much of an object is left just outside its mask: 0 is none, 1 as much as in the photo.

    The coefficient of the regression of (background - truth) on (photo - truth).

    Args:
        background: (H, W, 3) uint8, the photo after the object was removed.
        photo: (H, W, 3) uint8.
        truth: (H, W, 3) uint8, the room without the object.
        mask: (H, W) bool, the object; its blurred edge and its shadow are outside.
        reach_px: how far outside the mask to look. NaN if the photo shows nothing of the object there.
    """
    kernel = np.ones((2 * reach_px + 1, 2 * reach_px + 1), np.uint8)
    rim = cv2.dilate(mask.astype(np.uint8), kernel).astype(np.bool_) & ~mask
    left, whole = (picture[rim].astype(np.float64) - truth[rim] for picture in (background, photo))
    power = float((whole**2).sum())
    return float((left * whole).sum()) / power if power else float("nan")


def colour_error(picture: Picture, truth: Picture, where: Mask) -> float:
    """Return the difference of the mean colours of a region, 0..255, averaged over the channels.

    Args:
        picture: (H, W, 3) uint8.
        truth: (H, W, 3) uint8.
        where: (H, W) bool; NaN if no pixel is true.
    """
    if not where.any():
        return float("nan")
    return float(np.abs(picture[where].mean(axis=0) - truth[where].mean(axis=0)).mean())


def silhouette(view: Picture) -> Mask:
    """Return the (H, W) bool pixels of a view on white that are not near-white."""
    return np.asarray(view.min(axis=2) < NEAR_WHITE)


def downscale(picture: Picture, width: int, height: int) -> Picture:
    """Return a picture at a smaller size, each pixel the mean of the area that it covers."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def view_figures(view: Picture, truth: Picture, truth_mask: Mask) -> dict[str, float]:
    """Compare a view on white with its truth.

    Args:
        view: (side, side, 3) uint8.
        truth: (side, side, 3) uint8.
        truth_mask: (side, side) bool: the object in `truth`.

    Returns:
        PSNR of the whole view and of the object's pixels in dB, IoU of the silhouettes, and the error of the object's
        mean colour in levels.
    """
    return {
        "view_psnr": psnr_db(view, truth),
        "object_psnr": psnr_db(view, truth, truth_mask),
        "silhouette": mask_iou(silhouette(view), silhouette(truth)),
        "colour_error": colour_error(view, truth, truth_mask),
    }
