"""Resizing, and conversions between pictures and tensors as each network was trained."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from respin.errors import InternalError
from respin.geometry import Size
from respin.specs import Array

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

Mask = NDArray[np.bool_]
"""(H, W) bool."""

Alpha = NDArray[np.float32]
"""(H, W) float32, 0..1."""

LANCZOS = Image.Resampling.LANCZOS
BILINEAR = Image.Resampling.BILINEAR


def resize(picture: Picture, size: Size, resample: Image.Resampling) -> Picture:
    """Resize a picture with Pillow's area-aware filters.

    OpenCV's and PyTorch's filters of the same names do not average when they shrink, and give different pixels.
    """
    if Size.from_array(picture) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size.width, size.height), resample))


def channels_first(picture: Array) -> NDArray[np.float32]:
    """Convert (H, W, 3) to (3, H, W), contiguous float32."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32)


def to_uint8(tensor: Array) -> Picture:
    """Convert (3, H, W) about 0..255 to (H, W, 3) uint8: rounded half to even, and clipped."""
    # Adding zeros is OpenCV's saturating cast; NumPy takes five times as long.
    zeros = np.zeros(tensor.shape[1:], np.float32)
    planes = [cv2.add(plane, zeros, dtype=cv2.CV_8U) for plane in np.ascontiguousarray(tensor)]
    return np.asarray(cv2.merge(planes), np.uint8)


def channels_last(picture: Array) -> Array:
    """Convert (3, H, W) to (H, W, 3)."""
    return picture.transpose(1, 2, 0)


LEVELS: NDArray[np.float32] = np.arange(256, dtype=np.float32)[:, None]
"""All values of a channel, (256, 1)."""


def map_levels(picture: Picture, table: Array) -> NDArray[np.float32]:
    """Convert a picture to a tensor by looking up each level in a table.

    The result is that of arithmetic on every pixel, which takes seven times as long.

    Args:
        picture: (H, W, 3) uint8.
        table: (256, 3) float32, the value of each level of each channel.

    Returns:
        (3, H, W) float32.
    """
    tensor = np.empty((3, *picture.shape[:2]), np.float32)
    for channel, column, plane in zip(cv2.split(picture), np.ascontiguousarray(table.T), tensor, strict=True):
        cv2.LUT(channel, column, dst=plane)
    return tensor


_SIGNED = np.repeat(LEVELS / 127.5 - 1, 3, axis=1)


def to_signed(picture: Picture) -> NDArray[np.float32]:
    """Convert (H, W, 3) 0..255 to (3, H, W) -1..1, the range of Stable Diffusion's VAE."""
    return map_levels(picture, _SIGNED)


def from_signed(tensor: Array) -> NDArray[np.float32]:
    """Convert (3, H, W) about -1..1 to (H, W, 3) float32, clipped to 0..255, not rounded: inverse of `to_signed`."""
    return np.asarray(np.clip((channels_last(tensor) + 1) / 2, 0, 1) * 255, np.float32)


BLACK = -0.99
"""Highest value, of -1..1, that counts as black: the output of a VAE that overflows."""


def check_finite(tensor: Array, what: str) -> None:
    """Check that a network has not overflowed.

    Args:
        tensor: (3, H, W).
        what: subject of the error message.

    Raises:
        InternalError: a value is infinite or NaN.
    """
    if not np.isfinite(tensor).all():
        raise InternalError(f"{what} contains values that are not finite; serve a float32 set, or try another seed")


def check_not_black(tensor: Array, what: str) -> None:
    """Check that a picture is not black all over, as from a half-precision VAE that overflows.

    Args:
        tensor: (3, H, W), about -1..1.
        what: subject of the error message.

    Raises:
        InternalError: all pixels are black.
    """
    if tensor.max() <= BLACK:
        raise InternalError(f"{what} is black all over; serve a float32 set, or try another seed")
