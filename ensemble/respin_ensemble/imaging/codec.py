"""Photos as they come and go: files in, upright RGB pixels inside, files out."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from respin.errors import InvalidInput
from respin.request import LARGEST_SIDE_PX
from respin_ensemble.imaging.tensors import Alpha, Mask, Picture

SMALLEST_SIDE_PX = 32
"""Shortest side of a photo."""

LARGEST_AREA_PX = 50_000_000
"""Most pixels of a photo; as RGBA it then takes 200 MB."""

LARGEST_ASPECT = 8
"""Longer side over shorter side at most: what GroundingDINO's image takes."""

LARGEST_PROFILE_BYTES = 2**20
"""A longer ICC profile is dropped: Pillow would refuse to read it back from a PNG."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes such a photo upright (Exif 2.32, tag 0x0112); 1 is upright."""

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    # Level 6 takes four times as long and saves a seventh.
    "png": {"compress_level": 1},
    "jpeg": {"quality": 95, "subsampling": "4:4:4"},
    # Method 4, the default, takes three times as long for the same size.
    "webp": {"quality": 95, "method": 2},
}

# Pillow warns about odd metadata, and `warnings.catch_warnings` swaps a list that all threads share. One photo at a
# time also bounds the memory that decoding takes.
_decoding = threading.Lock()


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo.

    Args:
        pixels: (H, W, 3) uint8 RGB, upright, read-only.
        icc_profile: the colour space of `pixels` if the file told it; None is sRGB.
    """

    pixels: Picture
    icc_profile: bytes | None


def decode_photo(data: bytes) -> Photo:
    """Decode a JPEG, PNG or WebP file: turned upright by its EXIF orientation, transparency laid on white.

    Grey, palette and 16-bit photos become 8-bit RGB. The pixels of an RGB photo stay as they are and keep their ICC
    profile; CMYK goes to sRGB through its profile. Of a JPEG with several pictures (MPO) the first is taken.

    Raises:
        InvalidInput: no such file, a broken or animated one, or a photo too small, too large or too long.
    """
    with _decoding, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _opened(data)
        _refuse_size(*image.size)
        _refuse_animation(image)
        with _broken_file_refused():
            image.load()
        turn = _TURNS.get(_orientation(image))
        colours = _rgb(image)
        upright = colours if turn is None else colours.transpose(turn)
        return Photo(np.asarray(upright), _kept_profile(image))


def photo_pixels(data: bytes) -> int:
    """How many pixels a photo has, by its header alone.

    Raises:
        InvalidInput: no such file, one whose header is broken, or a photo too small, too large or too long.
    """
    width, height = _opened(data).size
    _refuse_size(width, height)
    return width * height


def encode(pixels: Picture, output_format: str, icc_profile: bytes | None = None) -> bytes:
    """Encode a picture; PNG keeps every pixel, JPEG and WebP have quality 95.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        output_format: "png", "jpeg" or "webp".
        icc_profile: the colour space of `pixels`; None writes none, which means sRGB.
    """
    return _file(Image.fromarray(pixels), output_format, icc_profile)


def encode_mask(mask: Mask) -> bytes:
    """Encode a mask, (H, W) bool, as an 8-bit grey PNG: 255 where true."""
    return _file(Image.fromarray(mask.astype(np.uint8) * np.uint8(255)), "png", None)


def encode_cut_out(pixels: Picture, alpha: Alpha, icc_profile: bytes | None = None) -> bytes:
    """Encode a cut-out as an RGBA PNG.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32, 0 transparent to 1 opaque.
        icc_profile: the colour space of `pixels`; None writes none, which means sRGB.
    """
    opacity = np.rint(alpha * 255).astype(np.uint8)
    return _file(Image.fromarray(np.dstack([pixels, opacity])), "png", icc_profile)


def _file(image: Image.Image, output_format: str, icc_profile: bytes | None) -> bytes:
    buffer = BytesIO()
    image.save(buffer, output_format, icc_profile=icc_profile, **_SAVE_OPTIONS[output_format])
    return buffer.getvalue()


@contextmanager
def _broken_file_refused() -> Iterator[None]:
    """Only Pillow's own readers run in here: a broken file leads them into errors of any kind."""
    try:
        yield
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(str(error)) from error
    except Exception as error:
        raise InvalidInput(f"image is broken or cut short ({error}); send the whole file") from error


def _opened(data: bytes) -> ImageFile:
    """The file with its header read.

    Not by `Image.open`: that counts pixels before it tells the size, and reads an MPO's other pictures.
    """
    reader: type[ImageFile]
    if data.startswith(b"\xff\xd8\xff"):
        reader = JpegImageFile
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        reader = PngImageFile
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        reader = WebPImageFile
    else:
        start = f"it starts with bytes {data[:8].hex(' ')}" if data else "it is empty"
        raise InvalidInput(f"image is not a JPEG, PNG or WebP picture: {start}; send one of these")
    with _broken_file_refused():
        return reader(BytesIO(data))


def _refuse_size(width: int, height: int) -> None:
    size = f"{width} x {height} px"
    if not (min(width, height) >= SMALLEST_SIDE_PX and max(width, height) <= LARGEST_SIDE_PX):
        raise InvalidInput(f"image has {size}, each side must have {SMALLEST_SIDE_PX} to {LARGEST_SIDE_PX}; resize it")
    if width * height > LARGEST_AREA_PX:
        raise _too_large(size)
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        raise InvalidInput(f"image has {size}, one side may be {LARGEST_ASPECT} times the other at most; crop it")


def _too_large(size: str) -> InvalidInput:
    return InvalidInput(f"image is too large ({size}), at most {LARGEST_AREA_PX // 10**6} megapixels; resize it")


def _refuse_animation(image: ImageFile) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise InvalidInput(f"image is an animation of {frames} frames; send a single picture")


def _orientation(image: ImageFile) -> Any:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        # Every viewer shows a photo with broken EXIF, as it is stored.
        return None


def _rgb(image: ImageFile) -> Image.Image:
    if image.mode in ("I", "I;16"):
        return _rgb_from_16_bit_grey(image)
    if image.mode == "CMYK":
        return _rgb_from_cmyk(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        return white.convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _rgb_from_16_bit_grey(image: ImageFile) -> Image.Image:
    """Pillow's own conversion cuts values off at 255."""
    levels = np.asarray(image).astype(np.uint32)
    # 65535 = 255 * 257
    grey = ((levels + 128) // 257).astype(np.uint8)
    if "transparency" in image.info:
        grey[levels == image.info["transparency"]] = 255
    return Image.fromarray(grey).convert("RGB")


def _rgb_from_cmyk(image: ImageFile) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            # Not a profile, or not one of CMYK: Pillow's plain formula is the next best.
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _kept_profile(image: ImageFile) -> bytes | None:
    """The file's profile if its RGB pixels, direct or by palette, were not converted out of it."""
    profile: bytes | None = image.info.get("icc_profile")
    if not profile or len(profile) > LARGEST_PROFILE_BYTES:
        return None
    # ICC.1:2022, 7.2: the header tells the colour space of the data in bytes 16 to 19.
    is_rgb = image.mode in ("RGB", "RGBA", "P") and profile[16:20] == b"RGB "
    return profile if is_rgb else None
