"""Sizes, boxes and rectangles of pixels, and the way back from each.

Two frames occur: a picture's own pixels, and the frame of a network's input, into which `Fit` leads and from which it
leads back. Boxes are continuous coordinates, (x0, y0, x1, y1); placements are whole pixels and may leave the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin.specs import Array

_BLENDED_PX = 2**18
"""Pixels that `blend` works on at a time."""


@dataclass(frozen=True)
class Size:
    """Of a picture, in pixels."""

    height: int
    width: int

    @classmethod
    def of(cls, picture: Array) -> Size:
        """Size of an (H, W) or (H, W, channels) array."""
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
        """A box from (cx, cy, w, h) as fractions of a picture of `size`; GroundingDINO's form."""
        cx, cy, width, height = (float(number) for number in centre)
        return cls(
            (cx - width / 2) * size.width,
            (cy - height / 2) * size.height,
            (cx + width / 2) * size.width,
            (cy + height / 2) * size.height,
        )

    @property
    def width(self) -> float:
        """In pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """In pixels."""
        return self.y1 - self.y0

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y)."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def to_array(self) -> NDArray[np.float32]:
        """(4,) float32: x0, y0, x1, y1."""
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
        """First column that is not in it."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """First row that is not in it."""
        return self.top + self.height

    @property
    def size(self) -> Size:
        """Its size."""
        return Size(self.height, self.width)

    @property
    def box(self) -> Box:
        """The box that it covers."""
        return Box(self.left, self.top, self.right, self.bottom)

    def within(self, size: Size) -> tuple[slice, slice]:
        """(rows, columns) of the part that lies inside a picture of `size`; empty slices where none does."""
        top, left = min(max(0, self.top), size.height), min(max(0, self.left), size.width)
        bottom, right = min(max(top, self.bottom), size.height), min(max(left, self.right), size.width)
        return slice(top, bottom), slice(left, right)

    def inner(self, size: Size) -> tuple[slice, slice]:
        """The same part in the rectangle's own pixels."""
        rows, columns = self.within(size)
        return (
            slice(rows.start - self.top, rows.stop - self.top),
            slice(columns.start - self.left, columns.stop - self.left),
        )


def bounding_box(mask: NDArray[np.bool_]) -> Placement:
    """The smallest rectangle that holds every true pixel.

    Args:
        mask: (H, W) bool with at least one true pixel.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Placement(int(columns[0]), int(rows[0]), int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1)


def square_around(inner: Placement, share: float) -> Placement:
    """The square about a rectangle's centre of which the rectangle's longer side fills `share`.

    side = int(longer side / share), as One-2-3-45 cuts its objects (utils/utils.py, `image_preprocess_nosave`).
    """
    side = int(max(inner.width, inner.height) / share)
    return Placement(inner.left + (inner.width - side) // 2, inner.top + (inner.height - side) // 2, side, side)


def expand(inner: Placement, margin_px: int, size: Size) -> Placement:
    """A rectangle grown by a margin on every side, clipped to a picture of `size`."""
    grown = Placement(
        inner.left - margin_px, inner.top - margin_px, inner.width + 2 * margin_px, inner.height + 2 * margin_px
    )
    rows, columns = grown.within(size)
    return Placement(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)


def cut(picture: Array, place: Placement, fill: int) -> Array:
    """The pixels of a rectangle; `fill` where it leaves the picture.

    Args:
        picture: (H, W) or (H, W, channels).
        place: what to cut.
        fill: value of pixels that the picture does not have.

    Returns:
        (place.height, place.width[, channels]), a copy.
    """
    patch = np.full((place.height, place.width, *picture.shape[2:]), fill, picture.dtype)
    size = Size.of(picture)
    patch[place.inner(size)] = picture[place.within(size)]
    return patch


def lay(picture: Array, patch: Array, place: Placement) -> Array:
    """The picture with a patch laid where it was cut: the inverse of `cut`. Neither argument is changed."""
    laid = picture.copy()
    size = Size.of(picture)
    laid[place.within(size)] = patch[place.inner(size)]
    return laid


def blend(below: NDArray[np.uint8], above: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay one picture over another of the same size.

    Args:
        below: (H, W, 3); its pixels stay bit-identical wherever `alpha` is 0.
        above: (H, W, 3).
        alpha: (H, W), 0..1: how much of `above` shows.

    Returns:
        (H, W, 3).
    """
    blended = np.empty_like(below)
    height, width = alpha.shape
    # Row by row a pixel takes 50 bytes; a whole photo at once would take gigabytes.
    rows = max(1, _BLENDED_PX // max(1, width))
    for top in range(0, height, rows):
        band = slice(top, top + rows)
        weight = alpha[band, :, None]
        mixed = below[band] + weight * (above[band].astype(np.float32) - below[band])
        blended[band] = np.where(weight > 0, np.clip(np.rint(mixed), 0, 255), below[band])
    return blended


@dataclass(frozen=True)
class Fit:
    """How a picture enters a network's frame: scaled to `fitted`, then padded below and right to `padded`.

    Args:
        original: size of the picture.
        fitted: its size in the network's frame.
        padded: size of the network's input.
    """

    original: Size
    fitted: Size
    padded: Size

    def box_into(self, box: Box) -> Box:
        """A box of the picture in the network's frame."""
        across, down = self.fitted.width / self.original.width, self.fitted.height / self.original.height
        return Box(box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down)

    def box_back(self, box: Box) -> Box:
        """A box of the network's frame in the picture: the inverse of `box_into`."""
        across, down = self.original.width / self.fitted.width, self.original.height / self.fitted.height
        return Box(box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down)

    def remove_padding(self, picture: Array) -> Array:
        """The part of an (H, W[, channels]) array in the network's frame that is picture, not padding."""
        return picture[: self.fitted.height, : self.fitted.width]


def fit_longest_side(size: Size, side: int) -> Fit:
    """SAM's frame: the longer side becomes `side`, the rest of a square is padding.

    Sides are rounded half up, as SAM was trained (segment_anything/utils/transforms.py, `get_preprocess_shape`);
    Python's round() is a pixel off where a side ends in .5.
    """
    scale = side / size.longest
    fitted = Size(max(1, int(size.height * scale + 0.5)), max(1, int(size.width * scale + 0.5)))
    return Fit(size, fitted, Size(side, side))


def fit_short_side(size: Size, short: int, long: int) -> Fit:
    """GroundingDINO's frame: the shorter side becomes `short`, unless the longer would pass `long`. No padding.

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
    """The inpainting's frame: the longer side becomes `side`; each side is padded to a multiple.

    One scale for both sides keeps the picture's shape; padding fills what the network's halvings need.
    """
    scale = side / size.longest
    fitted = Size(max(1, round(size.height * scale)), max(1, round(size.width * scale)))
    return Fit(
        size, fitted, Size(*(math.ceil(length / multiple_of) * multiple_of for length in (fitted.height, fitted.width)))
    )
