"""What is done to masks between the networks."""

from __future__ import annotations

import cv2
import numpy as np

from respin_ensemble.imaging.tensors import Alpha, Mask, Picture

NEAR_WHITE = 250
"""A pixel of which any channel is darker belongs to the object of a view on white."""


def grow(mask: Mask, dilate_px: int) -> Mask:
    """Widen a mask by a square, as `cv2.dilate` with ones((dilate_px, dilate_px)) does.

    An even side is not symmetric: 50 reaches 24 px up and left, 25 px down and right.

    Args:
        mask: (H, W) bool.
        dilate_px: side of the square; 0 or 1 changes nothing.
    """
    if dilate_px <= 1:
        return mask
    # cv2.dilate takes the maximum of pixels x - anchor .. x - anchor + side - 1; its default anchor is side // 2.
    kernel = np.ones((dilate_px, dilate_px), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(np.bool_)


def feathered_inside(mask: Mask, feather_px: float) -> Alpha:
    """A mask whose opacity rises from its edge inwards and is 0 everywhere outside it.

    Args:
        mask: (H, W) bool.
        feather_px: distance from the edge at which it is opaque; below 1 the edge is hard.
    """
    if feather_px < 1:
        return mask.astype(np.float32)
    # The border of the picture is no edge of the hole: pad with inside, so that only true edges fade.
    padded = np.pad(mask.astype(np.uint8), 1, mode="edge")
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    # A mask without any edge has no distance to one.
    opacity = np.where(mask.all(), 1.0, distance / feather_px) * mask
    return np.clip(opacity, 0, 1).astype(np.float32)


def softened(mask: Mask, sigma_px: float = 1.0) -> Alpha:
    """A mask as opacity with its edge blurred by a Gaussian."""
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma_px).clip(0, 1)


def largest_shape_on_white(view: Picture) -> Mask:
    """The largest connected shape of a view on white that is not near-white; all false where there is none."""
    red, green, blue = cv2.split(view)
    shape = (cv2.min(cv2.min(red, green), blue) < NEAR_WHITE).astype(np.uint8)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(shape, connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    if len(areas) == 0:
        return np.zeros(shape.shape, np.bool_)
    return np.asarray(labels == 1 + int(np.argmax(areas)))
