"""Where an object is in a photo, in a compact form for the cache."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin_ensemble.imaging.tensors import Mask
from respin_ensemble.stages.detection import Detection


@dataclass(frozen=True, eq=False)
class Outline:
    """A detection and its mask, packed to one bit per pixel.

    Args:
        found: where the object is.
        bits: the mask, eight pixels per byte.
        shape: (H, W) of the photo.
    """

    found: Detection
    bits: NDArray[np.uint8]
    shape: tuple[int, int]

    @classmethod
    def from_mask(cls, found: Detection, mask: Mask) -> Outline:
        """Pack a mask, (H, W) bool."""
        height, width = mask.shape
        return cls(found, np.packbits(mask), (height, width))

    @property
    def nbytes(self) -> int:
        """Size in memory, bytes."""
        return self.bits.nbytes

    @property
    def mask(self) -> Mask:
        """The mask of the object, (H, W) bool."""
        height, width = self.shape
        return np.unpackbits(self.bits, count=height * width).reshape(self.shape).astype(np.bool_)
