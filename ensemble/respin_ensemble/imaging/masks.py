"""Operations on masks between the networks."""

from __future__ import annotations

import cv2
import numpy as np

from respin_ensemble.imaging.tensors import Alpha, Mask, Picture

NEAR_WHITE = 250
"""In a view on white, a pixel belongs to the object if any of its channels is below this level."""


def dilate(mask: Mask, dilate_px: int) -> Mask:
    """Dilate a mask by a square, like `cv2.dilate` with ones((dilate_px, dilate_px)).

    An even side is not symmetric: 50 extends 24 px up and left, 25 px down and right.

    Args:
        mask: (H, W) bool.
        dilate_px: side of the square; 0 and 1 change nothing.
    """
    if dilate_px <= 1:
        return mask
    # cv2.dilate takes the maximum of pixels x - anchor .. x - anchor + side - 1; its default anchor is side // 2.
    kernel = np.ones((dilate_px, dilate_px), np.uint8)
    return cv2.dilate(mask.view(np.uint8), kernel).view(np.bool_)


def feather_inside(mask: Mask, feather_px: float) -> Alpha:
    """Return a mask whose opacity rises from its edge inwards; 0 everywhere outside.

    Args:
        mask: (H, W) bool.
        feather_px: distance from the edge at which it is opaque; below 1 the edge is hard.
    """
    if feather_px < 1:
        return mask.astype(np.float32)
    # The image border is not an edge of the hole: repeat it, so that only true edges fade.
    if mask.all():
        # A mask without an edge has no distance to one.
        return np.ones(mask.shape, np.float32)
    padded = np.pad(mask.view(np.uint8), 1, mode="edge")
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    opacity: Alpha = distance / np.float32(feather_px)
    opacity *= mask
    return np.clip(opacity, 0, 1, out=opacity)


def soften(mask: Mask, sigma_px: float = 1.0) -> Alpha:
    """Return a mask as opacity with its edge blurred by a Gaussian."""
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma_px).clip(0, 1)


def drop_specks(mask: Mask, min_share: float = 0.02) -> Mask:
    """Remove the connected shapes of a mask that are far smaller than its largest one.

    A speck beside the object would widen its bounding box, from which the scale of the novel view and the place of the
    turned object are taken.

    Args:
        mask: (H, W) bool.
        min_share: area that a shape needs to stay, as a share of the largest shape's.

    Returns:
        (H, W) bool.
    """
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = statistics[:, cv2.CC_STAT_AREA]
    if len(areas) <= 2:
        return mask
    kept = areas >= min_share * areas[1:].max()
    # The background is no shape.
    kept[0] = False
    return np.asarray(kept[labels])


def largest_shape_on_white(view: Picture) -> Mask:
    """Return the largest connected shape of a view that is not near-white; all false if there is none."""
    red, green, blue = cv2.split(view)
    shape = (cv2.min(cv2.min(red, green), blue) < NEAR_WHITE).astype(np.uint8)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(shape, connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    if len(areas) == 0:
        return np.zeros(shape.shape, np.bool_)
    return np.asarray(labels == 1 + int(np.argmax(areas)))
