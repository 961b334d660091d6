"""Resizing and the tensor forms of pictures, each as the network it serves was trained."""

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


def resized(picture: Picture, size: Size, resample: Image.Resampling) -> Picture:
    """A picture at another size, by Pillow's area-aware filters.

    OpenCV's and PyTorch's filters of the same names do not average when they shrink, and give other pixels.
    """
    if Size.of(picture) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size.width, size.height), resample))


def channels_first(picture: Array) -> NDArray[np.float32]:
    """(H, W, 3) to (3, H, W), contiguous float32."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32)


def whole_levels(tensor: Array) -> Picture:
    """(3, H, W) about 0..255 to (H, W, 3): rounded half to even, and clipped."""
    # A sum with nothing is OpenCV's way of a cast that saturates; by NumPy it takes five times as long.
    nothing = np.zeros(tensor.shape[1:], np.float32)
    planes = [cv2.add(plane, nothing, dtype=cv2.CV_8U) for plane in np.ascontiguousarray(tensor)]
    return np.asarray(cv2.merge(planes), np.uint8)


def channels_last(picture: Array) -> Array:
    """(3, H, W) to (H, W, 3)."""
    return picture.transpose(1, 2, 0)


LEVELS: NDArray[np.float32] = np.arange(256, dtype=np.float32)[:, None]
"""(256, 1): every value that a channel of a picture can have."""


def translated(picture: Picture, table: Array) -> NDArray[np.float32]:
    """A picture as a tensor, each level replaced by its value in a table.

    The same numbers as by arithmetic on every pixel, which takes seven times as long.

    Args:
        picture: (H, W, 3) uint8.
        table: (256, 3) float32: what each level of each channel becomes.

    Returns:
        (3, H, W) float32.
    """
    tensor = np.empty((3, *picture.shape[:2]), np.float32)
    for channel, column, plane in zip(cv2.split(picture), np.ascontiguousarray(table.T), tensor, strict=True):
        cv2.LUT(channel, column, dst=plane)
    return tensor


_SIGNED = np.repeat(LEVELS / 127.5 - 1, 3, axis=1)


def signed(picture: Picture) -> NDArray[np.float32]:
    """(H, W, 3) 0..255 to (3, H, W) -1..1: the range of Stable Diffusion's VAE."""
    return translated(picture, _SIGNED)


def unsigned(tensor: Array) -> NDArray[np.float32]:
    """(3, H, W) about -1..1 to (H, W, 3) float32 within 0..255, not rounded: the inverse of `signed`."""
    return np.asarray(np.clip((channels_last(tensor) + 1) / 2, 0, 1) * 255, np.float32)


BLACK = -0.99
"""At or below this, of -1..1, a pixel is as black as an overflowing VAE leaves it."""


def refuse_not_numbers(tensor: Array, what: str) -> None:
    """Let nothing go on as a picture that is not made of numbers: what a network that overflows leaves.

    Args:
        tensor: (3, H, W).
        what: it is, for the message.

    Raises:
        InternalError: a value is infinite or none.
    """
    if not np.isfinite(tensor).all():
        raise InternalError(f"{what} came out as values that are not numbers; serve a float32 set, or try another seed")


def refuse_black(tensor: Array, what: str) -> None:
    """Let nothing go on as a picture that is black all over: what a half-precision VAE that overflows leaves.

    Args:
        tensor: (3, H, W), about -1..1.
        what: it is, for the message.

    Raises:
        InternalError: no pixel has any light.
    """
    if tensor.max() <= BLACK:
        raise InternalError(f"{what} came out black all over; serve a float32 set, or try another seed")
