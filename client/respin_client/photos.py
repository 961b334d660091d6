"""Make a request from a photo: a file, its content, or a PIL image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from respin.errors import InvalidInput
from respin.request import RotationRequest

PhotoSource = str | Path | bytes | Image.Image

_PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")


def request_from_photo(
    photo: PhotoSource,
    class_name: str,
    azimuth: float | Sequence[float] = (),
    polar: float | Sequence[float] = (),
    *,
    box: Sequence[float] | None = None,
    **options: Any,
) -> RotationRequest:
    """Make a request from a photo.

        request_from_photo("laptop.jpg", "laptop", azimuth=80)                 # one view
        request_from_photo("laptop.jpg", "laptop", azimuth=(-40, 40), seed=7)  # two
        request_from_photo(image, "laptop")                                    # segmentation only

    Args:
        photo: path of a JPEG, PNG or WebP file, its content, or a PIL image (which is encoded as PNG).
        class_name: name of the object.
        azimuth: camera moves in degrees, one or several; positive moves the camera right.
        polar: camera moves in degrees, one or several; positive moves the camera down.
        box: (x0, y0, x1, y1) px of the upright photo; None = the detector finds the object.
        options: the other fields of `RotationRequest`.

    Raises:
        InvalidInput: the file cannot be read, or a value is not allowed.
    """
    return RotationRequest(
        image=_encoded(photo),
        class_name=class_name,
        azimuth=_numbers(azimuth),
        polar=_numbers(polar),
        box=None if box is None else _numbers(box),
        **options,
    )


def _numbers(numbers: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(map(float, np.atleast_1d(numbers)))


def _encoded(photo: PhotoSource) -> bytes:
    if isinstance(photo, bytes):
        return photo
    if isinstance(photo, Image.Image):
        return _png(photo)
    try:
        return Path(photo).read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read the photo '{photo}' ({error.strerror}); give the path of a picture") from None


def _png(image: Image.Image) -> bytes:
    # PNG has no orientation tag.
    upright = ImageOps.exif_transpose(image)
    if upright.mode not in _PNG_MODES:
        upright = upright.convert("RGB")
    buffer = io.BytesIO()
    upright.save(buffer, "PNG")
    return buffer.getvalue()
