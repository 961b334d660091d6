"""PIL images of every mode as PNG, so that their picture stays what it was; and photos to look at."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from respin.errors import InvalidInput

_PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")
_THROUGH = {"RGBa": "RGBA", "La": "LA", "PA": "RGBA", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB"}
"""The mode of PNG that a mode is converted to without loss, or nearly so."""


def png_from_image(image: Image.Image) -> bytes:
    """Encode an image, upright.

    Whole numbers and fractions (modes I and F) are levels: up to 1 (fractions only), 255 or 65535, whichever is the
    least that holds them all.

    Raises:
        InvalidInput: the levels are negative, larger, or not finite, or the image has a mode that no PNG is made of.
    """
    picture = _of_png_mode(upright(image))
    buffer = io.BytesIO()
    profile = picture.info.get("icc_profile")
    try:
        picture.save(buffer, "PNG", icc_profile=profile if isinstance(profile, bytes) else None)
    except (OSError, ValueError, TypeError, KeyError, SystemError) as error:
        raise InvalidInput(f"the image cannot be encoded ({error}); convert it to RGB") from error
    return buffer.getvalue()


def image_from_photo(photo: bytes) -> Image.Image:
    """Decode a photo for people to look at: upright, 8 bits a channel.

    Raises:
        InvalidInput: it cannot be decoded.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(photo))
        image.load()
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) / 257).astype(np.uint8))
        return upright(image)
    except Exception as error:  # Pillow's readers raise exceptions of every kind
        raise InvalidInput(f"the photo cannot be decoded ({error}); send a JPEG, PNG or WebP file") from None


def upright(image: Image.Image) -> Image.Image:
    """Return an image turned as its camera was held; as it is stored if its metadata is broken, like every viewer."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # readers of broken EXIF raise exceptions of every kind
        return image


def _of_png_mode(image: Image.Image) -> Image.Image:
    if image.mode in _PNG_MODES:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _of_levels(np.asarray(image), is_fraction=image.mode == "F")
    if image.mode == "LAB":
        return _converted(image, ImageCms.createProfile("LAB"))
    if image.mode == "CMYK":
        return _of_inks(image)
    try:
        return image.convert(_THROUGH.get(image.mode, "RGB"))
    except ValueError as error:
        raise InvalidInput(f"the image has mode {image.mode} ({error}); convert it to RGB") from None


def _of_levels(levels: NDArray[Any], *, is_fraction: bool) -> Image.Image:
    if levels.dtype.itemsize == 2:
        return Image.fromarray(levels.astype(np.uint16))
    least, greatest = (float(levels.min()), float(levels.max())) if levels.size else (0.0, 0.0)
    if not 0 <= least <= greatest <= 65535:
        raise InvalidInput(
            f"the image has levels from {least:g} to {greatest:g}; scale them to 0..255 and convert it to mode L"
        )
    if is_fraction and greatest <= 1:
        levels = levels * 255
    dtype = np.uint8 if greatest <= 255 else np.uint16
    return Image.fromarray(np.rint(levels).astype(dtype))


def _of_inks(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    try:
        return _converted(image, ImageCms.ImageCmsProfile(io.BytesIO(profile))) if profile else _without_profile(image)
    except (ImageCms.PyCMSError, OSError, TypeError):
        return _without_profile(image)


def _without_profile(image: Image.Image) -> Image.Image:
    converted = image.convert("RGB")
    # That of the inks says nothing about the result.
    converted.info.pop("icc_profile", None)
    return converted


def _converted(image: Image.Image, profile: Any) -> Image.Image:
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    if converted is None:
        return _without_profile(image)
    converted.info.pop("icc_profile", None)
    return converted
