"""Paste the turned object into the background."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from respin.geometry import Box, Placement, Size, blend, bounding_box, cut, expand
from respin_ensemble.imaging.masks import soften
from respin_ensemble.imaging.tensors import LANCZOS, Alpha, Mask, Picture

EDGE_PX = 4
"""Margin around the object's mask when its view is cropped, for the softened edge."""

FRINGE_PX = 2
"""Width of the band inside an object's edge whose colours are mixed with the white around it, px of the view."""

STRIP_PX = 2**20
"""Pixels that are resized and blended at a time."""


def paste(background: Picture, view: Picture, view_mask: Mask, *, square: Placement, box: Box, fit: str) -> Picture:
    """Put the turned object where the old one stood.

    Args:
        background: (H, W, 3) uint8; pixels that the object does not cover stay unchanged.
        view: (side, side, 3) uint8: the object from its new side.
        view_mask: (side, side) bool with at least one true pixel.
        square: the square of the photo that the view replaces.
        box: the object's old box, px of the photo; the new object has the same centre.
        fit: "view" keeps Zero123's scale, so the view covers its square again; "box" fits the object into its old box.

    Returns:
        (H, W, 3) uint8.
    """
    shape = bounding_box(view_mask)
    scale = square.width / view.shape[1] if fit == "view" else min(box.width / shape.width, box.height / shape.height)
    # Only the object's part of the view is scaled: a view may be far larger than the photo.
    around = expand(shape, EDGE_PX, Size.from_array(view))
    mask = cut(view_mask, around, fill=0)
    place = paste_place(mask, scale, box.centre)
    return compose(background, without_fringe(cut(view, around, fill=255), mask), soften(mask), place)


def without_fringe(view: Picture, mask: Mask) -> Picture:
    """Give the pixels of an object's edge, and those around it, the colour of the nearest pixel further inside.

    At its edge an object in a view on white is mixed with white, which would be a bright line around it in the photo.
    Parts as narrow as the band itself keep their own colours.

    Args:
        view: (h, w, 3) uint8: the object on white.
        mask: (h, w) bool: the object.

    Returns:
        (h, w, 3) uint8.
    """
    side = 2 * FRINGE_PX + 1
    inside = cv2.erode(mask.view(np.uint8), np.ones((side, side), np.uint8))
    if not inside.any():
        return view
    # The label of every pixel is that of the nearest one inside.
    distance_px, labels = cv2.distanceTransformWithLabels(
        1 - inside, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((labels.max() + 1, 3), np.uint8)
    colours[labels[inside > 0]] = view[inside > 0]
    near = distance_px <= FRINGE_PX + EDGE_PX
    return np.where(near[..., None], colours[labels], view)


def paste_place(mask: Mask, scale: float, centre: tuple[float, float]) -> Placement:
    """Return where to paste a scaled view so that its object is centred on `centre`.

    Args:
        mask: (h, w) bool: the object in its view.
        scale: photo pixels per view pixel.
        centre: (x, y) px of the photo.
    """
    middle_x, middle_y = bounding_box(mask).box.centre
    height, width = mask.shape
    return Placement(
        left=round(centre[0] - middle_x * scale),
        top=round(centre[1] - middle_y * scale),
        width=max(1, round(width * scale)),
        height=max(1, round(height * scale)),
    )


def compose(background: Picture, view: Picture, alpha: Alpha, place: Placement, *, strip_px: int = STRIP_PX) -> Picture:
    """Paste a view into the background.

    Args:
        background: (H, W, 3) uint8; pixels under transparent parts of the view stay unchanged.
        view: (h, w, 3) uint8.
        alpha: (h, w) float32, 0..1.
        place: where the view goes; parts outside the photo are cropped.
        strip_px: pixels that are resized and blended at a time.

    Returns:
        (H, W, 3) uint8.
    """
    composed = background.copy()
    size = Size.from_array(background)
    rows, _ = place.within(size)
    inner_rows, inner_columns = place.inner(size)
    rgba = np.asarray(cv2.merge([*cv2.split(view), np.rint(alpha * 255).astype(np.uint8)]), np.uint8)
    for strip, scaled in resize_in_strips(rgba, place.size, inner_rows, inner_columns, strip_px):
        target = rows, slice(strip.start + place.left, strip.stop + place.left)
        opacity: Alpha = scaled[..., 3].astype(np.float32) / np.float32(255)
        composed[target] = blend(composed[target], scaled[..., :3], opacity)
    return composed


def resize_in_strips(
    rgba: NDArray[np.uint8], size: Size, rows: slice, columns: slice, strip_px: int
) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """Resize colours and opacity together with LANCZOS, one strip of columns after another.

    The pixels are those of `Image.resize` for the whole picture. When it enlarges, it resizes the rows first, then the
    columns, each with 8 bits; the columns of the second pass do not depend on each other. A view may be enlarged far
    beyond the photo, so the whole is never in memory.

    Pillow premultiplies the colours by the opacity, so transparent pixels do not bleed into the edge.

    Args:
        rgba: (h, w, 4) uint8.
        size: size to which it is resized.
        rows: rows of the resized picture to return.
        columns: its columns to return.
        strip_px: pixels of a strip at most, unless a single column has more.

    Yields:
        The columns of a strip, and its pixels, (rows, columns, 4) uint8.
    """
    height = rgba.shape[0]
    image = Image.fromarray(rgba)
    if size.height <= height:
        # Smaller than the view, and Pillow may resize the columns first.
        whole = np.asarray(image.resize((size.width, size.height), LANCZOS))
        yield columns, whole[rows, columns]
        return
    wide = image.convert("RGBa").resize((size.width, height), LANCZOS)
    width = max(1, strip_px // size.height)
    for left in range(columns.start, columns.stop, width):
        right = min(columns.stop, left + width)
        strip = wide.crop((left, 0, right, height)).resize((right - left, size.height), LANCZOS)
        part = strip.crop((0, rows.start, right - left, rows.stop)).convert("RGBA")
        yield slice(left, right), np.asarray(part)
