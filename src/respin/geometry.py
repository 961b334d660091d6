"""Sizes, boxes and rectangles of pixels, and the conversions between frames.

There are two frames: a picture's own pixels, and a network's input. A `Fit` converts between them. Boxes are continuous
coordinates, (x0, y0, x1, y1); placements are whole pixels and may leave the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin.specs import Array

_BLENDED_PX = 2**18
"""Number of pixels that `blend` converts at a time."""


@dataclass(frozen=True)
class Size:
    """The size of a picture, in pixels."""

    height: int
    width: int

    @classmethod
    def from_array(cls, picture: Array) -> Size:
        """Return the size of an (H, W) or (H, W, channels) array."""
        return cls(picture.shape[0], picture.shape[1])

    @property
    def longest(self) -> int:
        """The longer side."""
        return max(self.height, self.width)


@dataclass(frozen=True)
class Box:
    """A box in continuous pixel coordinates; x grows right, y grows down."""

    x0: float
    y0: float
    x1: float
    y1: float

    @classmethod
    def from_fractions(cls, centre: Array, size: Size) -> Box:
        """Return a box from (cx, cy, w, h) as fractions of a picture of `size`, which is GroundingDINO's form."""
        cx, cy, width, height = (float(number) for number in centre)
        return cls(
            (cx - width / 2) * size.width,
            (cy - height / 2) * size.height,
            (cx + width / 2) * size.width,
            (cy + height / 2) * size.height,
        )

    @property
    def width(self) -> float:
        """Width, px."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Height, px."""
        return self.y1 - self.y0

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the box, (x, y)."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def to_array(self) -> NDArray[np.float32]:
        """Return the corners, (4,) float32: x0, y0, x1, y1."""
        return np.array([self.x0, self.y0, self.x1, self.y1], np.float32)


@dataclass(frozen=True)
class Placement:
    """A rectangle of whole pixels, some or all of which may lie outside the picture."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First column to the right of the rectangle."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """First row below the rectangle."""
        return self.top + self.height

    @property
    def size(self) -> Size:
        """Size of the rectangle."""
        return Size(self.height, self.width)

    @property
    def box(self) -> Box:
        """Box of the rectangle."""
        return Box(self.left, self.top, self.right, self.bottom)

    def within(self, size: Size) -> tuple[slice, slice]:
        """Return (rows, columns) of the part inside a picture of `size`; the slices are empty if there is none."""
        top, left = min(max(0, self.top), size.height), min(max(0, self.left), size.width)
        bottom, right = min(max(top, self.bottom), size.height), min(max(left, self.right), size.width)
        return slice(top, bottom), slice(left, right)

    def inner(self, size: Size) -> tuple[slice, slice]:
        """Return (rows, columns) of the part inside a picture of `size`, counted from the rectangle's corner."""
        rows, columns = self.within(size)
        return (
            slice(rows.start - self.top, rows.stop - self.top),
            slice(columns.start - self.left, columns.stop - self.left),
        )


def bounding_box(mask: NDArray[np.bool_]) -> Placement:
    """Return the smallest rectangle that holds every true pixel.

    Args:
        mask: (H, W) bool with at least one true pixel.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Placement(int(columns[0]), int(rows[0]), int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1)


def square_around(inner: Placement, share: float) -> Placement:
    """Return the square about a rectangle's centre of which the rectangle's longer side fills `share`.

    side = int(longer side / share), as One-2-3-45 cuts its objects (utils/utils.py, `image_preprocess_nosave`).
    """
    side = int(max(inner.width, inner.height) / share)
    return Placement(inner.left + (inner.width - side) // 2, inner.top + (inner.height - side) // 2, side, side)


def expand(inner: Placement, margin_px: int, size: Size) -> Placement:
    """Expand a rectangle by a margin on every side, and clip it to a picture of `size`."""
    grown = Placement(
        inner.left - margin_px, inner.top - margin_px, inner.width + 2 * margin_px, inner.height + 2 * margin_px
    )
    rows, columns = grown.within(size)
    return Placement(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)


def cut(picture: Array, place: Placement, fill: int) -> Array:
    """Copy the pixels of a rectangle, with `fill` where it leaves the picture.

    Args:
        picture: (H, W) or (H, W, channels).
        place: the rectangle.
        fill: value of pixels outside the picture.

    Returns:
        (place.height, place.width[, channels]).
    """
    patch = np.full((place.height, place.width, *picture.shape[2:]), fill, picture.dtype)
    size = Size.from_array(picture)
    patch[place.inner(size)] = picture[place.within(size)]
    return patch


def lay(picture: Array, patch: Array, place: Placement) -> Array:
    """Return a copy of a picture with a patch at a rectangle: the inverse of `cut`."""
    laid = picture.copy()
    size = Size.from_array(picture)
    laid[place.within(size)] = patch[place.inner(size)]
    return laid


def blend(below: NDArray[np.uint8], above: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Blend a picture over another of the same size.

    Args:
        below: (H, W, 3); its pixels stay bit-identical wherever `alpha` is 0.
        above: (H, W, 3).
        alpha: (H, W), 0..1: opacity of `above`.

    Returns:
        (H, W, 3).
    """
    blended = np.empty_like(below)
    height, width = alpha.shape
    # Blending needs 50 bytes a pixel: a whole photo at once would take gigabytes.
    rows = max(1, _BLENDED_PX // max(1, width))
    for top in range(0, height, rows):
        band = slice(top, top + rows)
        weight = alpha[band, :, None]
        mixed = below[band] + weight * (above[band].astype(np.float32) - below[band])
        blended[band] = np.where(weight > 0, np.clip(np.rint(mixed), 0, 255), below[band])
    return blended


@dataclass(frozen=True)
class Fit:
    """The conversion of a picture to a network's frame: scaled to `fitted`, then padded below and right to `padded`.

    Args:
        original: size of the picture.
        fitted: size of the picture in the network's frame.
        padded: size of the network's input.
    """

    original: Size
    fitted: Size
    padded: Size

    def box_into(self, box: Box) -> Box:
        """Convert a box of the picture to the network's frame."""
        across, down = self.fitted.width / self.original.width, self.fitted.height / self.original.height
        return Box(box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down)

    def box_back(self, box: Box) -> Box:
        """Convert a box of the network's frame to the picture: the inverse of `box_into`."""
        across, down = self.original.width / self.fitted.width, self.original.height / self.fitted.height
        return Box(box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down)

    def remove_padding(self, picture: Array) -> Array:
        """Return the part of an (H, W[, channels]) array in the network's frame that is not padding."""
        return picture[: self.fitted.height, : self.fitted.width]


def fit_longest_side(size: Size, side: int) -> Fit:
    """Fit a picture for SAM: the longer side becomes `side`, the rest of a square is padding.

    Sides are rounded half up, as SAM was trained (segment_anything/utils/transforms.py, `get_preprocess_shape`);
    Python's round() is a pixel off where a side ends in .5.
    """
    scale = side / size.longest
    fitted = Size(max(1, int(size.height * scale + 0.5)), max(1, int(size.width * scale + 0.5)))
    return Fit(size, fitted, Size(side, side))


def fit_short_side(size: Size, short: int, long: int) -> Fit:
    """Fit a picture for GroundingDINO: the shorter side becomes `short`, unless the longer would exceed `long`.

    The rounding is upstream's (groundingdino/datasets/transforms.py, `resize`): the capped short side by Python's
    banker's rounding, the longer side truncated.
    """
    least, most = min(size.height, size.width), max(size.height, size.width)
    if most / least * short > long:
        short = round(long * least / most)
    if least == short:
        fitted = size
    elif size.width < size.height:
        fitted = Size(int(short * size.height / size.width), short)
    else:
        fitted = Size(short, int(short * size.width / size.height))
    return Fit(size, fitted, fitted)


def fit_within(size: Size, side: int, multiple_of: int) -> Fit:
    """Fit a picture for inpainting: the longer side becomes `side`, and each side is padded to a multiple.

    One scale for both sides keeps the picture's proportions; the network halves its sides, which needs the multiple.
    """
    scale = side / size.longest
    fitted = Size(max(1, round(size.height * scale)), max(1, round(size.width * scale)))
    return Fit(
        size, fitted, Size(*(math.ceil(length / multiple_of) * multiple_of for length in (fitted.height, fitted.width)))
    )
