"""The colour that a PNG declares transparent, in every form that PNG has for it, is laid on white."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from respin_ensemble.imaging.codec import decode_photo

SIDE = 40
GREY, RGB = 0, 2


def png(levels, *, depth, colour, transparent=None):
    """A PNG of (height, width) or (height, width, 3) levels as they are stored, without a library's help."""
    height, width = levels.shape[:2]
    samples = levels.reshape(height, -1).astype(">u2").view(np.uint8).reshape(height, -1, 2)
    if depth == 16:
        rows = samples.reshape(height, -1)
    else:
        bits = np.unpackbits(samples[..., 1:], axis=2)[..., 8 - depth :]
        rows = np.packbits(bits.reshape(height, -1), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    marks = b"" if transparent is None else np.array(transparent, ">u2").tobytes()
    chunks = [
        (b"IHDR", header),
        *([(b"tRNS", marks)] if marks else []),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def all_levels(depth):
    return (np.arange(SIDE * SIDE) % 2**depth if depth < 16 else np.arange(SIDE * SIDE) * 40).reshape(SIDE, SIDE)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_level_of_grey_becomes_white_and_no_other(depth):
    levels = all_levels(depth)
    plain = decode_photo(png(levels, depth=depth, colour=GREY)).pixels
    for level in {0, int(levels[0, 1]), int(levels.max())}:
        pixels = decode_photo(png(levels, depth=depth, colour=GREY, transparent=[level])).pixels
        wanted = plain.copy()
        wanted[levels == level] = 255
        assert_array_equal(pixels, wanted)


def test_bits_beyond_the_depth_of_a_level_mean_nothing():
    levels = all_levels(4)
    wanted = decode_photo(png(levels, depth=4, colour=GREY, transparent=[7])).pixels
    assert_array_equal(decode_photo(png(levels, depth=4, colour=GREY, transparent=[0xAB07])).pixels, wanted)


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_colour_becomes_white_and_none_that_is_near_it(depth):
    near = np.zeros((SIDE, SIDE, 3), int)
    near[:10], near[10:20], near[20:30], near[30:] = (10, 20, 30), (10, 20, 31), (11, 20, 30), (0, 0, 0)
    colours = near if depth == 8 else near + 0x1200
    plain = decode_photo(png(colours, depth=depth, colour=RGB)).pixels
    pixels = decode_photo(png(colours, depth=depth, colour=RGB, transparent=colours[0, 0])).pixels
    assert (pixels[:10] == 255).all()
    assert_array_equal(pixels[10:], plain[10:])
