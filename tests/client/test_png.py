"""PIL images of every mode keep their picture on the way to the server."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageCms

from respin_client import InvalidInput, request_from_photo
from respin_client.png import image_from_photo

SIDE = 48
RAMP = np.linspace(0, 255, SIDE * SIDE).round().astype(np.uint8).reshape(SIDE, SIDE)
COLOURS = Image.merge(
    "RGB", [Image.fromarray(RAMP), Image.fromarray(RAMP[::-1].copy()), Image.fromarray(RAMP.T.copy())]
)


def sent(image: Image.Image) -> Image.Image:
    return Image.open(io.BytesIO(request_from_photo(image, "cup").image))


LEVELS = {
    "I of 16 bits": (Image.fromarray(RAMP.astype(np.int32) * 257), 257),
    "I of 8 bits": (Image.fromarray(RAMP.astype(np.int32)), 1),
    "I;16": (Image.fromarray(RAMP.astype(np.uint16) * 257), 257),
    "I;16B": (Image.frombytes("I;16B", (SIDE, SIDE), (RAMP.astype(">u2") * 257).astype(">u2").tobytes()), 257),
    "F from 0 to 1": (Image.fromarray((RAMP / 255).astype(np.float32)), 1),
    "F from 0 to 255": (Image.fromarray(RAMP.astype(np.float32)), 1),
    "F from 0 to 65535": (Image.fromarray(RAMP.astype(np.float32) * 257), 257),
    "L": (Image.fromarray(RAMP), 1),
}


@pytest.mark.parametrize(("image", "step"), LEVELS.values(), ids=LEVELS)
def test_levels_of_every_range_stay_what_they_are(image, step):
    assert_array_equal(np.asarray(sent(image)), RAMP.astype(int) * step)


@pytest.mark.parametrize(
    "image",
    [
        Image.new("I", (SIDE, SIDE), -5),
        Image.new("I", (SIDE, SIDE), 2**20),
        Image.new("F", (SIDE, SIDE), float("nan")),
        Image.new("F", (SIDE, SIDE), -0.5),
    ],
    ids=["negative", "more than 16 bits", "not a number", "negative fraction"],
)
def test_levels_that_are_no_picture_are_refused(image):
    with pytest.raises(InvalidInput, match=r"the image has levels from .*; scale them to 0\.\.255"):
        request_from_photo(image, "cup")


@pytest.mark.parametrize("mode", ["RGB", "YCbCr", "HSV", "LAB", "RGBX", "RGBA", "RGBa"])
def test_colours_stay_what_they_are(mode):
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(COLOURS, *profiles, outputMode="LAB")
    else:
        image = COLOURS.convert("RGBA").convert(mode) if mode == "RGBa" else COLOURS.convert(mode)
    # Some of these colours have no place in LAB of 8 bits.
    tolerance = 40 if mode == "LAB" else 12
    assert_allclose(np.asarray(sent(image).convert("RGB")).astype(int), np.asarray(COLOURS), atol=tolerance)


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBA", "RGBa"])
def test_transparency_stays(mode):
    grey = Image.merge("LA", [Image.fromarray(RAMP), Image.new("L", (SIDE, SIDE), 128)])
    if mode == "PA":
        image = Image.merge("RGBA", [*COLOURS.split(), Image.new("L", (SIDE, SIDE), 128)]).convert("PA")
    else:
        image = grey if mode == "LA" else grey.convert("La") if mode == "La" else grey.convert("RGBA").convert(mode)
    assert_array_equal(np.asarray(sent(image).convert("RGBA"))[..., 3], 128)


def test_inks_become_colours_and_their_profile_goes():
    inks = Image.new("CMYK", (SIDE, SIDE), (0, 255, 0, 0))
    inks.info["icc_profile"] = b"of the inks"
    answer = sent(inks)
    assert answer.getpixel((5, 5)) == (255, 0, 255)
    assert "icc_profile" not in answer.info


@pytest.mark.parametrize("profile", ["a text", 5, None])
def test_a_profile_that_is_no_bytes_is_left_out(profile):
    image = COLOURS.copy()
    image.info["icc_profile"] = profile
    assert_array_equal(np.asarray(sent(image)), np.asarray(COLOURS))


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_with(*chunks: bytes) -> bytes:
    file = io.BytesIO()
    COLOURS.save(file, "PNG")
    data = file.getvalue()
    at = data.index(b"IDAT") - 4
    return data[:at] + b"".join(chunks) + data[at:]


BROKEN_EXIF = {
    "not hexadecimal": png_with(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 4\nzzzz\n"))),
    "one line": png_with(chunk(b"tEXt", b"Raw profile type exif\0nothing")),
    "garbage": png_with(chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")),
    "of no kind": png_with(chunk(b"eXIf", b"nonsense")),
}


@pytest.mark.parametrize("photo", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
def test_broken_exif_spoils_no_photo(photo):
    assert_array_equal(np.asarray(image_from_photo(photo)), np.asarray(COLOURS))
    assert_array_equal(np.asarray(sent(Image.open(io.BytesIO(photo)))), np.asarray(COLOURS))


def test_a_photo_of_16_bit_grey_is_shown_as_it_is():
    file = io.BytesIO()
    Image.new("I;16", (SIDE, SIDE), 30000).save(file, "PNG")
    assert np.asarray(image_from_photo(file.getvalue())).max() == 116


@pytest.mark.parametrize("photo", [b"", b"GIF89a", png_with()[:90]])
def test_what_is_no_photo_is_refused(photo):
    with pytest.raises(InvalidInput, match="the photo cannot be decoded"):
        image_from_photo(photo)


def test_a_photo_file_of_gigabytes_is_not_read_whole(tmp_path):
    with (tmp_path / "photo.png").open("wb") as file:
        file.truncate(2**34)
    with pytest.raises(InvalidInput, match="image has 67108865 bytes; send 1 byte to 64 MiB"):
        request_from_photo(tmp_path / "photo.png", "cup")


@pytest.mark.parametrize("path", ["a\0b.png", "x" * 5000])
def test_a_path_that_no_file_has_is_refused(path):
    with pytest.raises(InvalidInput, match="cannot read the photo"):
        request_from_photo(path, "cup")


@pytest.mark.parametrize("azimuth", ["eighty", None, [None], [[1.0, 2.0]], 10**400])
def test_angles_that_are_no_numbers_are_refused(azimuth):
    with pytest.raises(InvalidInput, match="is no number and no list of numbers"):
        request_from_photo(COLOURS, "cup", azimuth=azimuth)
