"""Pictures survive their way out: pixels, alpha, colour profile."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from photo_files import SRGB, file_of, picture
from PIL import Image

from respin_ensemble.imaging.codec import decode_photo, encode_cut_out, encode_mask, encode_picture


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_an_rgb_photo_keeps_its_profile_from_file_to_file(kind):
    photo = decode_photo(file_of(picture(), kind, icc_profile=SRGB))
    assert photo.icc_profile == SRGB
    for output_format in ("png", "jpeg", "webp"):
        assert decode_photo(encode_picture(photo.pixels, output_format, photo.icc_profile)).icc_profile == SRGB
    plain = decode_photo(file_of(picture(), kind))
    assert_array_equal(photo.pixels, plain.pixels)


def test_png_out_keeps_every_pixel():
    assert_array_equal(decode_photo(encode_picture(picture(), "png")).pixels, picture())


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_lossy_out_is_close_and_in_the_format_asked_for(output_format):
    data = encode_picture(picture(), output_format)
    assert Image.open(BytesIO(data)).format == output_format.upper()
    assert_allclose(decode_photo(data).pixels.astype(int), picture(), atol=12)


def test_jpeg_out_keeps_colour_at_full_resolution():
    assert all(layer[1:3] == (1, 1) for layer in Image.open(BytesIO(encode_picture(picture(), "jpeg"))).layer)


def test_a_mask_is_a_grey_png_of_0_and_255():
    mask = picture()[..., 0] > 128
    image = Image.open(BytesIO(encode_mask(mask)))
    assert (image.format, image.mode) == ("PNG", "L")
    assert_array_equal(np.asarray(image), np.where(mask, 255, 0))


def test_a_cut_out_keeps_its_pixels_and_its_alpha():
    alpha = np.linspace(0, 1, 40 * 56, dtype=np.float32).reshape(40, 56)
    image = Image.open(BytesIO(encode_cut_out(picture(), alpha, SRGB)))
    assert (image.format, image.mode) == ("PNG", "RGBA")
    assert_array_equal(np.asarray(image)[..., :3], picture())
    assert_array_equal(np.asarray(image)[..., 3], np.rint(alpha * 255))
    assert image.info["icc_profile"] == SRGB
    assert "icc_profile" not in Image.open(BytesIO(encode_cut_out(picture(), alpha))).info
