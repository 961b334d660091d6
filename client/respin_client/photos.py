"""Make a request from a photo: a file, its content, or a PIL image."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from respin.errors import InvalidInput
from respin.request import MAX_IMAGE_BYTES, RotationRequest
from respin_client.png import png_from_image

PhotoSource = str | Path | bytes | Image.Image


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


def photo_from_standard_input() -> bytes:
    """Read a photo from standard input.

    Raises:
        InvalidInput: standard input is a terminal.
    """
    if sys.stdin.isatty():
        raise InvalidInput("standard input is a terminal; send a photo to it (< laptop.jpg), or name a file")
    return sys.stdin.buffer.read(MAX_IMAGE_BYTES + 1)


def _numbers(numbers: float | Sequence[float]) -> tuple[float, ...]:
    try:
        return tuple(map(float, np.atleast_1d(numbers)))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"{numbers!r:.60} is no number and no list of numbers ({error})") from None


def _encoded(photo: PhotoSource) -> bytes:
    if isinstance(photo, bytes):
        return photo
    if isinstance(photo, Image.Image):
        return png_from_image(photo)
    try:
        with Path(photo).open("rb") as file:
            # One byte more than allowed is enough to refuse it.
            return file.read(MAX_IMAGE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"cannot read the photo '{photo}' ({reason}); give the path of a picture") from None
