"""Decode photos to upright RGB pixels, and encode results."""

from __future__ import annotations

import re
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
"""Minimum side of a photo."""

LARGEST_AREA_PX = 50_000_000
"""Maximum number of pixels of a photo; as RGBA it then takes 200 MB."""

LARGEST_ASPECT = 8
"""Maximum ratio of the longer to the shorter side, which GroundingDINO's input allows."""

LARGEST_PROFILE_BYTES = 2**20
"""Longer ICC profiles are dropped: Pillow cannot read them back from a PNG."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that makes a photo upright, by EXIF orientation (Exif 2.32, tag 0x0112); 1 is upright."""

_HEIF_BRANDS = {"AVIF": (b"avif", b"avis"), "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1")}
"""The first brand of a file of each format that is named when it is refused (ISO/IEC 23008-12, annex B; AV1 Image)."""

_GREY_STEPS = {"1": 255, "L;2": 85, "L;4": 17, "L": 1}
"""Distance of two neighbouring levels once loaded, by the layout of grey in a PNG."""

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    # Level 6 takes four times as long and saves a seventh.
    "png": {"compress_level": 1},
    "jpeg": {"quality": 95, "subsampling": "4:4:4"},
    # Method 4, the default, takes three times as long for the same size.
    "webp": {"quality": 95, "method": 2},
}

# Pillow warns about odd metadata, and `warnings.catch_warnings` swaps a list that all threads share. Decoding one photo
# at a time also bounds the memory.
_decoding = threading.Lock()


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo.

    Args:
        pixels: (H, W, 3) uint8 RGB, upright, read-only.
        icc_profile: the colour space of `pixels` if the file contains it; None is sRGB.
    """

    pixels: Picture
    icc_profile: bytes | None


def decode_photo(data: bytes) -> Photo:
    """Decode a JPEG, PNG or WebP file, turn it upright by its EXIF orientation, and replace transparency with white.

    Grey, palette and 16-bit photos become 8-bit RGB. The pixels of an RGB photo stay unchanged and keep their ICC
    profile; CMYK is converted to sRGB through its profile. A JPEG with several pictures (MPO) gives the first.

    Raises:
        InvalidInput: the file has another format, is broken or animated, or its size or aspect ratio is not accepted.
    """
    with _decoding, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(data)
        _check_size(*image.size)
        _check_single_frame(image)
        layout = _pixel_layout(image)
        with _reject_broken_file():
            image.load()
        turn = _TURNS.get(_orientation(image))
        with _reject_broken_file():
            colours = _rgb_beyond_8_bit(data, image) if layout == "RGB;16B" else _rgb(image, layout)
        upright = colours if turn is None else colours.transpose(turn)
        return Photo(np.asarray(upright), _profile_to_keep(image))


def count_pixels(data: bytes) -> int:
    """Return the number of pixels of a photo, from its header alone.

    Raises:
        InvalidInput: the file has another format or a broken header, or its size or aspect ratio is not accepted.
    """
    width, height = _open(data).size
    _check_size(width, height)
    return width * height


def encode_picture(pixels: Picture, output_format: str, icc_profile: bytes | None = None) -> bytes:
    """Encode a picture; PNG is lossless, JPEG and WebP have quality 95.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        output_format: "png", "jpeg" or "webp".
        icc_profile: the colour space of `pixels`; None writes none, which means sRGB.
    """
    return _encode(Image.fromarray(pixels), output_format, icc_profile)


def encode_mask(mask: Mask) -> bytes:
    """Encode a mask, (H, W) bool, as an 8-bit grey PNG: 255 where true."""
    return _encode(Image.fromarray(mask.astype(np.uint8) * np.uint8(255)), "png", None)


def encode_cut_out(pixels: Picture, alpha: Alpha, icc_profile: bytes | None = None) -> bytes:
    """Encode a cut-out as an RGBA PNG.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32, 0 transparent to 1 opaque.
        icc_profile: the colour space of `pixels`; None writes none, which means sRGB.
    """
    opacity = np.rint(alpha * 255).astype(np.uint8)
    return _encode(Image.fromarray(np.dstack([pixels, opacity])), "png", icc_profile)


def _encode(image: Image.Image, output_format: str, icc_profile: bytes | None) -> bytes:
    buffer = BytesIO()
    image.save(buffer, output_format, icc_profile=icc_profile, **_SAVE_OPTIONS[output_format])
    return buffer.getvalue()


@contextmanager
def _reject_broken_file() -> Iterator[None]:
    """Convert exceptions of Pillow's readers, which a broken file can raise in every kind, to `InvalidInput`."""
    try:
        yield
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(str(error)) from error
    except Exception as error:
        raise InvalidInput(f"image is broken or cut short ({_words_of(error)}); send the whole file") from error


def _words_of(error: Exception) -> str:
    """Return what Pillow says, unless it quotes bytes of the file, an object's address or a path."""
    words = str(error)
    return words if re.fullmatch(r"[\w .,:;()-]{1,100}", words, re.ASCII) else type(error).__name__


def _open(data: bytes) -> ImageFile:
    """Open a file and read its header.

    `Image.open` is not used: it limits the number of pixels before the size is known, and reads all pictures of an MPO.
    """
    reader: type[ImageFile]
    if data.startswith(b"\xff\xd8\xff"):
        reader = JpegImageFile
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        reader = PngImageFile
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        reader = WebPImageFile
    else:
        raise InvalidInput(f"image is not a JPEG, PNG or WebP picture: {_describe(data)}; send one of these")
    with _reject_broken_file():
        return reader(BytesIO(data))


def _describe(data: bytes) -> str:
    """Return in words what a file is that has none of the three formats."""
    for kind, brands in _HEIF_BRANDS.items():
        if data[4:8] == b"ftyp" and data[8:12] in brands:
            return f"it is {kind} (magick photo.{kind.lower()} photo.png converts it)"
    return f"it starts with bytes {data[:8].hex(' ')}" if data else "it is empty"


def _check_size(width: int, height: int) -> None:
    size = f"{width} x {height} px"
    if not (min(width, height) >= SMALLEST_SIDE_PX and max(width, height) <= LARGEST_SIDE_PX):
        raise InvalidInput(f"image has {size}, each side must have {SMALLEST_SIDE_PX} to {LARGEST_SIDE_PX}; resize it")
    if width * height > LARGEST_AREA_PX:
        raise _too_large(size)
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        raise InvalidInput(f"image has {size}, one side may be {LARGEST_ASPECT} times the other at most; crop it")


def _too_large(size: str) -> InvalidInput:
    return InvalidInput(f"image is too large ({size}), at most {LARGEST_AREA_PX // 10**6} megapixels; resize it")


def _check_single_frame(image: ImageFile) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise InvalidInput(f"image is an animation of {frames} frames; send a single picture")


def _orientation(image: ImageFile) -> Any:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        # Like every viewer: a photo with broken EXIF is shown as it is stored.
        return None


def _pixel_layout(image: ImageFile) -> str:
    """Return how a file that is not loaded yet stores its pixels, in Pillow's terms: "RGB", "L;4", "RGB;16B"."""
    layout = image.tile[0].args if image.tile else ""
    return layout if isinstance(layout, str) else ""


def _rgb(image: ImageFile, layout: str) -> Image.Image:
    if image.mode in ("I", "I;16"):
        return _rgb_from_16_bit_grey(image)
    if image.mode == "CMYK":
        return _rgb_from_cmyk(image)
    if layout in _GREY_STEPS and "transparency" in image.info:
        # PNG names the transparent level as it is stored, and Pillow spreads the levels over 0..255.
        step = _GREY_STEPS[layout]
        image.info["transparency"] = image.info["transparency"] % (255 // step + 1) * step
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        return white.convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _rgb_beyond_8_bit(data: bytes, image: ImageFile) -> Image.Image:
    """Convert a PNG of 16-bit colours, of which Pillow keeps the high bytes; its transparent colour has 16 bits."""
    high = image.convert("RGB")
    transparent = image.info.get("transparency")
    if transparent is None:
        return high
    beside = PngImageFile(BytesIO(data))
    beside.tile = [beside.tile[0]._replace(args="RGB;16L")]
    beside.load()
    levels = np.asarray(high).astype(np.uint16) * 256 + np.asarray(beside)
    pixels = np.asarray(high).copy()
    pixels[(levels == np.array(transparent, np.uint16)).all(axis=2)] = 255
    return Image.fromarray(pixels)


def _rgb_from_16_bit_grey(image: ImageFile) -> Image.Image:
    """Convert 16-bit grey; Pillow's own conversion clips values at 255."""
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
            # Not a profile, or not one of CMYK: fall back to Pillow's plain formula.
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _profile_to_keep(image: ImageFile) -> bytes | None:
    """Return the file's profile if its RGB pixels, direct or by palette, are still in that colour space."""
    profile: bytes | None = image.info.get("icc_profile")
    if not profile or len(profile) > LARGEST_PROFILE_BYTES:
        return None
    # ICC.1:2022, 7.2: bytes 0 to 3 of the header are the profile's length, 16 to 19 the colour space of the data.
    is_whole = int.from_bytes(profile[:4], "big") <= len(profile)
    if image.mode not in ("RGB", "RGBA", "P") or profile[16:20] != b"RGB " or not is_whole:
        return None
    try:
        ImageCms.buildTransform(BytesIO(profile), ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    return profile
