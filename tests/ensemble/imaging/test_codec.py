"""A photo's file becomes upright RGB pixels, or a sentence says why not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from photo_files import SRGB, file_of, grey_cmyk_profile, jpeg_header, orientation, picture, png_header, webp_header
from PIL import Image

from respin.errors import InvalidInput
from respin_ensemble.imaging.codec import decode_photo


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_a_lossless_photo_keeps_every_pixel(kind):
    photo = decode_photo(file_of(picture(), kind, lossless=True))
    assert_array_equal(photo.pixels, picture())
    assert photo.pixels.dtype == np.uint8
    assert photo.icc_profile is None


def test_a_jpeg_is_close_to_what_was_photographed():
    photo = decode_photo(file_of(picture(), "jpeg", quality=95))
    assert_allclose(photo.pixels.astype(int), picture(), atol=16)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"GIF89a" + bytes(50), b"RIFF\0\0\0\0WAVE", b"hello"],
    ids=["empty", "nul", "gif", "wav", "text"],
)
def test_what_is_no_picture_of_the_three_kinds_is_refused_in_words(data):
    with pytest.raises(InvalidInput, match=r"not a JPEG, PNG or WebP picture: it .*; send one of these"):
        decode_photo(data)


@pytest.mark.parametrize(
    ("brand", "kind"), [(b"avif", "AVIF"), (b"avis", "AVIF"), (b"heic", "HEIC"), (b"heix", "HEIC"), (b"mif1", "HEIC")]
)
def test_photos_of_phones_are_named_with_the_cure(brand, kind):
    with pytest.raises(InvalidInput, match=f"it is {kind} .magick photo.{kind.lower()} photo.png converts it.; send"):
        decode_photo(b"\0\0\0\x1cftyp" + brand + bytes(16))


def test_other_kinds_are_told_by_their_first_bytes():
    with pytest.raises(InvalidInput, match="it starts with bytes 42 4d"):
        decode_photo(file_of(picture(), "bmp"))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_truncated_photo_is_refused_in_words(kind, share):
    data = file_of(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), kind)
    # The kind must still be seen.
    with pytest.raises(InvalidInput, match=r"broken or cut short .*; send the whole file"):
        decode_photo(data[: max(12, int(share * len(data)))])


def test_a_progressive_jpeg_cut_short_is_refused():
    data = file_of(picture(200, 200), "jpeg", progressive=True)
    with pytest.raises(InvalidInput, match="cut short"):
        decode_photo(data[: len(data) // 2])


@pytest.mark.parametrize("header", [png_header, jpeg_header, webp_header])
@pytest.mark.parametrize(
    ("width", "height", "says"),
    [
        (31, 500, "31 x 500 px, each side must have 32 to 8192; resize it"),
        (500, 8, "500 x 8 px, each side must have"),
        (8000, 6251, r"too large \(8000 x 6251 px\), at most 50 megapixels; resize it"),
        (400, 3201, "400 x 3201 px, one side may be 8 times the other at most; crop it"),
    ],
)
def test_a_size_that_cannot_be_used_is_refused_by_the_header(header, width, height, says):
    with pytest.raises(InvalidInput, match=says):
        decode_photo(header(width, height))


@pytest.mark.parametrize("header", [png_header, jpeg_header])
@pytest.mark.parametrize(("width", "height"), [(8193, 3000), (30000, 30000)])
def test_a_decompression_bomb_is_refused_by_the_header(header, width, height):
    with pytest.raises(InvalidInput, match=f"{width} x {height} px, each side must have 32 to 8192"):
        decode_photo(header(width, height))


def test_the_largest_that_webp_can_promise_is_refused_by_the_header():
    with pytest.raises(InvalidInput, match=r"^image is too large \(.*268402689 pixels.*at most 50 megapixels"):
        decode_photo(webp_header(16383, 16383))


@pytest.mark.parametrize(("width", "height"), [(32, 32), (256, 32), (32, 256)])
def test_the_smallest_and_the_longest_photos_pass(width, height):
    assert decode_photo(file_of(picture(height, width))).pixels.shape == (height, width, 3)


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_an_animation_is_refused_with_its_number_of_frames(kind):
    frames = [Image.fromarray(picture(seed=seed)) for seed in range(3)]
    with pytest.raises(InvalidInput, match="animation of 3 frames; send a single picture"):
        decode_photo(file_of(frames[0], kind, save_all=True, append_images=frames[1:]))


def test_of_a_jpeg_with_several_pictures_the_first_is_taken():
    pictures = [Image.fromarray(picture(seed=seed)) for seed in range(2)]
    data = file_of(pictures[0], "mpo", save_all=True, append_images=pictures[1:], quality=95)
    assert_allclose(decode_photo(data).pixels.astype(int), picture(), atol=20)


AS_STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: np.rot90,
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}
"""How a camera stores an upright picture under each EXIF orientation: row 0 and column 0 lie where the tag says."""


@pytest.mark.parametrize("value", AS_STORED)
@pytest.mark.parametrize("kind", ["png", "webp"])
def test_a_photo_is_turned_upright(kind, value):
    stored = np.ascontiguousarray(AS_STORED[value](picture()))
    data = file_of(stored, kind, exif=orientation(value), lossless=True)
    assert_array_equal(decode_photo(data).pixels, picture())


def test_a_jpeg_is_turned_upright():
    data = file_of(np.ascontiguousarray(np.rot90(picture())), "jpeg", exif=orientation(6), quality=95)
    assert_allclose(decode_photo(data).pixels.astype(int), picture(), atol=16)


@pytest.mark.parametrize("value", [0, 9, 255])
def test_an_orientation_that_means_nothing_turns_nothing(value):
    assert_array_equal(decode_photo(file_of(picture(), exif=orientation(value))).pixels, picture())


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01", b"Exif\0\0MM\0*\0\0\xff\xff"]
)
def test_broken_exif_spoils_no_photo(exif):
    assert_array_equal(decode_photo(file_of(picture(), exif=exif)).pixels, picture())
    assert decode_photo(file_of(picture(), "jpeg", exif=exif)).pixels.shape == picture().shape


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_what_is_transparent_becomes_white(kind):
    alpha = np.full((40, 56), 255, np.uint8)
    alpha[:20], alpha[20:30] = 0, 128
    photo = decode_photo(file_of(np.dstack([picture(), alpha]), kind, lossless=True, exact=True))
    assert (photo.pixels[:20] == 255).all()
    half = picture()[20:30] * (128 / 255) + 255 * (127 / 255)
    assert_allclose(photo.pixels[20:30], half, atol=1)
    assert_array_equal(photo.pixels[30:], picture()[30:])


def test_a_palette_photo_becomes_rgb():
    image = Image.fromarray(picture()).quantize(16)
    assert_array_equal(decode_photo(file_of(image)).pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("transparency", [0, bytes([0, 255, 255])], ids=["one colour", "a table"])
def test_a_transparent_palette_colour_becomes_white(transparency):
    image = Image.fromarray(picture()).quantize(16)
    photo = decode_photo(file_of(image, transparency=transparency))
    see_through = np.asarray(image) == 0
    assert see_through.any()
    assert (photo.pixels[see_through] == 255).all()
    assert_array_equal(photo.pixels[~see_through], np.asarray(image.convert("RGB"))[~see_through])


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_grey_photo_becomes_rgb(kind):
    grey = Image.fromarray(picture()).convert("L")
    pixels = decode_photo(file_of(grey, kind, quality=100)).pixels
    assert_allclose(pixels.astype(int), np.asarray(grey)[..., None].repeat(3, axis=2), atol=2)


def test_a_grey_photo_with_alpha_is_laid_on_white():
    image = Image.merge("LA", [Image.new("L", (40, 40), 0), Image.new("L", (40, 40), 51)])
    assert (decode_photo(file_of(image)).pixels == 204).all()


def test_a_1_bit_photo_becomes_black_and_white():
    bits = picture()[..., 0] > 128
    assert_array_equal(
        decode_photo(file_of(Image.fromarray(bits))).pixels, np.where(bits, 255, 0)[..., None].repeat(3, 2)
    )


def test_16_bit_grey_is_scaled_not_cut_off():
    levels = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    pixels = decode_photo(file_of(Image.fromarray(levels))).pixels
    assert_array_equal(pixels, np.rint(levels / 257).astype(np.uint8)[..., None].repeat(3, axis=2))
    assert pixels.min() == 0
    assert pixels.max() == 255


@pytest.mark.parametrize("channels", [3, 4], ids=["rgb", "rgba"])
def test_16_bit_colours_become_8_bit(channels):
    deep = np.random.default_rng(0).integers(0, 65536, (40, 40, channels), np.uint16)
    deep[..., 3:] = 65535
    _, data = cv2.imencode(".png", deep)
    pixels = decode_photo(data.tobytes()).pixels
    assert_allclose(pixels, deep[..., 2::-1] / 257, atol=1)


def test_a_cmyk_photo_without_a_profile_becomes_rgb():
    inks = Image.new("CMYK", (40, 40), (255, 0, 0, 0))
    photo = decode_photo(file_of(inks, "jpeg", quality=100))
    assert_allclose(photo.pixels[20, 20].astype(int), [0, 255, 255], atol=3)


def test_a_cmyk_photo_goes_through_its_own_profile_which_is_then_spent():
    inks = Image.new("CMYK", (40, 40), (255, 0, 0, 0))
    photo = decode_photo(file_of(inks, "jpeg", quality=100, icc_profile=grey_cmyk_profile()))
    assert_allclose(photo.pixels.astype(int), 119, atol=2)
    assert photo.icc_profile is None


@pytest.mark.parametrize("profile", [b"no profile", SRGB], ids=["garbage", "of another colour space"])
def test_a_cmyk_photo_with_a_useless_profile_is_read_without_it(profile):
    inks = Image.new("CMYK", (40, 40), (0, 255, 0, 0))
    photo = decode_photo(file_of(inks, "jpeg", quality=100, icc_profile=profile))
    assert_allclose(photo.pixels[20, 20].astype(int), [255, 0, 255], atol=3)
    assert photo.icc_profile is None


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("L", SRGB),
        ("RGB", grey_cmyk_profile()),
        ("RGB", b"short"),
        ("RGB", SRGB.ljust(2**20 + 1, b"\0")),
        ("RGB", bytes(16) + b"RGB " + bytes(400)),
        ("RGB", SRGB[:-200]),
        ("RGB", SRGB[:16] + b"RGB "),
    ],
    ids=["on grey", "of CMYK", "garbage", "too long", "garbage of RGB", "cut off", "a header that is cut off"],
)
def test_a_profile_that_does_not_fit_the_pixels_is_dropped(mode, profile):
    image = Image.fromarray(picture()).convert(mode)
    assert decode_photo(file_of(image, "jpeg", icc_profile=profile)).icc_profile is None
