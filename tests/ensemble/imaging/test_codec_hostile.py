"""No bytes whatsoever get past the decoder as anything but pixels or a sentence."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_files import SRGB, file_of, grey_cmyk_profile, orientation, picture
from PIL import Image

from respin.errors import InvalidInput
from respin_ensemble.imaging.codec import decode_photo, encode_picture


def test_decoding_in_many_threads_leaves_the_warning_filters_alone():
    odd = file_of(picture(), "jpeg", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\xff\0\0\0\x10\0\0\0")
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as threads:
        shapes = [photo.pixels.shape for photo in threads.map(decode_photo, [odd] * 40)]
    assert shapes == [picture().shape] * 40
    assert list(warnings.filters) == before


def seeds():
    small = picture(33, 35)
    rgba = np.dstack([small, small[..., 0]])
    exif = orientation(6)
    frames = [Image.fromarray(small), Image.fromarray(small[::-1].copy())]
    return [
        file_of(small, "jpeg", exif=exif, icc_profile=SRGB),
        file_of(small, "jpeg", progressive=True, exif=exif),
        file_of(Image.new("CMYK", (33, 35), (9, 99, 199, 0)), "jpeg", icc_profile=grey_cmyk_profile()),
        file_of(frames[0], "mpo", save_all=True, append_images=frames[1:]),
        file_of(small, "png", exif=exif, icc_profile=SRGB),
        file_of(rgba, "png"),
        file_of(Image.fromarray(small).quantize(8), "png", transparency=bytes([0, 9])),
        file_of(Image.fromarray(small[..., 0].astype(np.uint16) * 257), "png"),
        file_of(frames[0], "png", save_all=True, append_images=frames[1:]),
        file_of(small, "webp", exif=exif, icc_profile=SRGB),
        file_of(rgba, "webp", lossless=True),
        file_of(frames[0], "webp", save_all=True, append_images=frames[1:]),
    ]


@st.composite
def spoilt_files(draw):
    """A good file with bytes changed, parts cut out or doubled, most of it near the header."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.one_of(st.integers(0, 60), st.integers(0, max(0, len(data) - 1))))
        change = draw(st.sampled_from(["byte", "byte", "byte", "cut", "double", "end"]))
        length = draw(st.integers(1, 16))
        if change == "byte":
            data[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif change == "cut":
            del data[at : at + length]
        elif change == "double":
            data[at:at] = data[at : at + length]
        else:
            del data[max(at, 12) :]
    return bytes(data)


SEEDS = seeds()


@settings(deadline=None, max_examples=400)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(bytes.__add__, st.sampled_from([seed[:16] for seed in SEEDS]), st.binary(max_size=200)),
        spoilt_files(),
    )
)
def test_any_bytes_give_pixels_or_a_sentence(data):
    try:
        photo = decode_photo(data)
    except InvalidInput:
        return
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.ndim == 3
    assert photo.pixels.shape[2] == 3
    for output_format in ("png", "jpeg", "webp"):
        encode_picture(photo.pixels, output_format, photo.icc_profile)
