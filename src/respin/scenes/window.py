"""Rectangles of pixels, so that work can be restricted to the part of a picture that changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels.

    Args:
        top: its first row.
        bottom: the row after its last.
        left: its first column.
        right: the column after its last.
    """

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def around(cls, low: NDArray[np.float64], high: NDArray[np.float64], shape: tuple[int, int]) -> Window:
        """Return the pixels of an (H, W) picture that a box touches, from its lowest and highest (x, y) px."""
        left, right = (min(max(int(x), 0), shape[1]) for x in (low[0], high[0] + 1))
        top, bottom = (min(max(int(y), 0), shape[0]) for y in (low[1], high[1] + 1))
        return cls(top, bottom, left, right)

    @classmethod
    def around_mask(cls, mask: NDArray[np.bool_]) -> Window:
        """Return the smallest window that holds all true pixels of an (H, W) mask; it is empty if there are none."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return cls(0, 0, 0, 0)
        return cls(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) px."""
        return self.bottom - self.top, self.right - self.left

    def crop(self, picture: NDArray[T]) -> NDArray[T]:
        """Return the window of a picture, (..., H, W), as a view."""
        return picture[..., self.top : self.bottom, self.left : self.right]

    def union(self, other: Window) -> Window:
        """Return the smallest window that holds both."""
        return Window(
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )

    def widen(self, margin: int, shape: tuple[int, int]) -> Window:
        """Return the window with a margin on all sides, as far as the (H, W) picture goes."""
        return Window(
            max(self.top - margin, 0),
            min(self.bottom + margin, shape[0]),
            max(self.left - margin, 0),
            min(self.right + margin, shape[1]),
        )

    def to_blocks(self, factor: int) -> Window:
        """Return the blocks of `factor` x `factor` pixels that the window touches."""
        return Window(self.top // factor, -(-self.bottom // factor), self.left // factor, -(-self.right // factor))

    def to_pixels(self, factor: int) -> Window:
        """Return the pixels of a window of blocks."""
        return Window(self.top * factor, self.bottom * factor, self.left * factor, self.right * factor)

    def relative_to(self, other: Window) -> Window:
        """Return the window with its rows and columns counted from the corner of another."""
        return Window(self.top - other.top, self.bottom - other.top, self.left - other.left, self.right - other.left)
