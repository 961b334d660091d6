"""The object's place and shape in a photo, as it is kept for later requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin_ensemble.imaging.tensors import Mask
from respin_ensemble.stages.detection import Detection


@dataclass(frozen=True, eq=False)
class Outline:
    """Where an object is, and its mask in an eighth of the mask's own bytes.

    Args:
        found: where the object is.
        bits: the mask, eight pixels a byte.
        shape: (H, W) of the photo.
    """

    found: Detection
    bits: NDArray[np.uint8]
    shape: tuple[int, int]

    @classmethod
    def of(cls, found: Detection, mask: Mask) -> Outline:
        """Pack a mask, (H, W) bool."""
        height, width = mask.shape
        return cls(found, np.packbits(mask), (height, width))

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.bits.nbytes

    @property
    def mask(self) -> Mask:
        """(H, W) bool: the object."""
        height, width = self.shape
        return np.unpackbits(self.bits, count=height * width).reshape(self.shape).astype(np.bool_)
