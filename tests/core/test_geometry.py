"""Geometry: every way in has a way back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from respin.geometry import (
    Box,
    Placement,
    Size,
    blend,
    bounding_box,
    cut,
    expand,
    fit_longest_side,
    fit_short_side,
    fit_within,
    lay,
    square_around,
)

sizes = st.builds(Size, st.integers(1, 60), st.integers(1, 60))
placements = st.builds(Placement, st.integers(-40, 70), st.integers(-40, 70), st.integers(1, 50), st.integers(1, 50))
photo_sizes = st.builds(Size, st.integers(32, 9000), st.integers(32, 9000))


def picture_of(size: Size) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size.height, size.width, 3), np.uint8)


@given(sizes, placements)
def test_laying_back_what_was_cut_changes_nothing(size, place):
    picture = picture_of(size)
    np.testing.assert_array_equal(lay(picture, cut(picture, place, fill=255), place), picture)


@given(sizes, placements)
def test_what_leaves_the_picture_is_filled(size, place):
    patch = cut(np.zeros((size.height, size.width), np.uint8), place, fill=255)
    rows, columns = place.inner(size)
    assert patch.shape == (place.height, place.width)
    assert not patch[rows, columns].any()
    assert (patch == 255).sum() == patch.size - patch[rows, columns].size


@given(sizes, placements)
def test_laying_a_patch_leaves_its_arguments_alone(size, place):
    picture, patch = picture_of(size), np.zeros((place.height, place.width, 3), np.uint8)
    before = picture.copy()
    lay(picture, patch, place)
    np.testing.assert_array_equal(picture, before)


@given(st_numpy.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_the_bounding_box_holds_every_true_pixel_and_touches_one_on_each_side(mask):
    mask[0, 0] |= not mask.any()
    box = bounding_box(mask)
    rows, columns = box.within(Size.from_array(mask))
    assert mask[rows, columns].sum() == mask.sum()
    inside = mask[rows, columns]
    assert inside[0].any()
    assert inside[-1].any()
    assert inside[:, 0].any()
    assert inside[:, -1].any()


@given(placements, st.floats(0.3, 1))
def test_a_square_has_its_rectangle_in_the_middle_and_at_its_share(inner, share):
    square = square_around(inner, share)
    assert square.width == square.height == int(max(inner.width, inner.height) / share)
    assert abs(square.box.centre[0] - inner.box.centre[0]) <= 0.5
    assert abs(square.box.centre[1] - inner.box.centre[1]) <= 0.5


@given(sizes, st.data(), st.integers(0, 30))
def test_a_widened_rectangle_stays_in_the_picture_and_keeps_its_inside(size, data, margin_px):
    left, top = data.draw(st.integers(0, size.width - 1)), data.draw(st.integers(0, size.height - 1))
    inner = Placement(left, top, 1, 1)
    wide = expand(inner, margin_px, size)
    assert 0 <= wide.left <= left < wide.right <= size.width
    assert 0 <= wide.top <= top < wide.bottom <= size.height


@pytest.mark.parametrize(
    "fit",
    [
        lambda size: fit_longest_side(size, 1024),
        lambda size: fit_short_side(size, 800, 1333),
        lambda size: fit_within(size, 512, 64),
    ],
    ids=["sam", "grounding_dino", "inpainting"],
)
@given(size=photo_sizes, corner=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_box_comes_back_from_a_networks_frame(fit, size, corner):
    frame = fit(size)
    box = Box(0, 0, corner[0] * size.width, corner[1] * size.height)
    back = frame.box_back(frame.box_into(box))
    np.testing.assert_allclose(back.to_array(), box.to_array(), atol=1e-3)
    assert frame.fitted.height <= frame.padded.height
    assert frame.fitted.width <= frame.padded.width


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        (Size(480, 640), Size(800, 1066)),
        (Size(1080, 1920), Size(750, 1333)),
        (Size(1000, 4000), Size(333, 1332)),
        (Size(800, 800), Size(800, 800)),
        (Size(640, 480), Size(1066, 800)),
    ],
    ids=["4:3", "16:9 is capped", "4:1 is capped", "already right", "upright"],
)
def test_grounding_dino_sees_a_photo_at_upstreams_size(size, fitted):
    assert fit_short_side(size, 800, 1333).fitted == fitted


@pytest.mark.parametrize(
    ("size", "fitted"),
    [(Size(600, 1024), Size(600, 1024)), (Size(333, 2048), Size(167, 1024)), (Size(97, 150), Size(662, 1024))],
    ids=["already right", "half a pixel is rounded up", "enlarged"],
)
def test_sam_sees_a_photo_at_upstreams_size(size, fitted):
    frame = fit_longest_side(size, 1024)
    assert (frame.fitted, frame.padded) == (fitted, Size(1024, 1024))


@given(photo_sizes)
def test_the_inpainting_keeps_the_photos_proportions(size):
    frame = fit_within(size, 512, 64)
    across, down = frame.fitted.width / size.width, frame.fitted.height / size.height
    assert abs(across * size.width - down * size.width) <= max(1, size.width / size.height)
    assert frame.padded.height % 64 == frame.padded.width % 64 == 0
    assert max(frame.padded.height - frame.fitted.height, frame.padded.width - frame.fitted.width) < 64


def test_a_large_picture_is_blended_in_bands_to_the_same_pixels():
    random = np.random.default_rng(2)
    below, above = random.integers(0, 256, (2, 700, 1000, 3), np.uint8)
    alpha = random.random((700, 1000), np.float32) * (random.random((700, 1000)) > 0.5)
    mixed = np.clip(np.rint(below + alpha[..., None] * (above.astype(np.float32) - below)), 0, 255)
    at_once = np.where(alpha[..., None] > 0, mixed, below).astype(np.uint8)
    np.testing.assert_array_equal(blend(below, above, alpha), at_once)


@given(sizes)
def test_blending_with_no_opacity_changes_no_pixel(size):
    below, above = picture_of(size), 255 - picture_of(size)
    clear = np.zeros((size.height, size.width), np.float32)
    np.testing.assert_array_equal(blend(below, above, clear), below)
    np.testing.assert_array_equal(blend(below, above, clear + 1), above)


def test_fractions_become_a_box_in_pixels():
    box = Box.from_fractions(np.array([0.5, 0.25, 0.5, 0.5], np.float32), Size(100, 200))
    assert (box.x0, box.y0, box.x1, box.y1) == (50, 0, 150, 50)
    assert (box.width, box.height, box.centre) == (100, 50, (100, 25))
