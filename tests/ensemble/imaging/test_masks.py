"""Masks between the networks."""

import numpy as np
import pytest

from respin_ensemble.imaging.masks import dilate, drop_specks, feather_inside, largest_shape_on_white, soften


def one_pixel(size=120, at=60):
    mask = np.zeros((size, size), np.bool_)
    mask[at, at] = True
    return mask


def test_growing_by_50_reaches_24_up_left_and_25_down_right():
    grown = dilate(one_pixel(), 50)
    rows, columns = np.flatnonzero(grown.any(axis=1)), np.flatnonzero(grown.any(axis=0))
    assert (rows[0], rows[-1]) == (columns[0], columns[-1]) == (60 - 24, 60 + 25)
    assert grown.sum() == 50 * 50


@pytest.mark.parametrize("dilate_px", [0, 1])
def test_growing_by_nothing_changes_nothing(dilate_px):
    np.testing.assert_array_equal(dilate(one_pixel(), dilate_px), one_pixel())


def test_a_feathered_mask_is_zero_outside_and_full_deep_inside():
    hole = dilate(one_pixel(), 50)
    alpha = feather_inside(hole, 7.5)
    assert (alpha[~hole] == 0).all()
    assert (alpha[hole] > 0).all()
    assert alpha[60, 60] == 1


def test_the_border_of_the_picture_is_no_edge_of_a_hole():
    hole = np.zeros((40, 40), np.bool_)
    hole[:, :20] = True
    alpha = feather_inside(hole, 5)
    assert (alpha[:, 0] == 1).all()
    assert (alpha[:, 19] < 1).all()


def test_a_hole_that_is_everything_is_opaque():
    assert (feather_inside(np.ones((9, 9), np.bool_), 4) == 1).all()


def test_a_feather_below_a_pixel_leaves_a_hard_edge():
    np.testing.assert_array_equal(feather_inside(one_pixel(), 0.5), one_pixel().astype(np.float32))


def test_softening_keeps_opacity_within_its_range():
    alpha = soften(dilate(one_pixel(), 20))
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    assert ((alpha > 0) & (alpha < 1)).any()


def test_the_largest_shape_on_white_is_found_by_its_colour():
    view = np.full((50, 50, 3), 255, np.uint8)
    view[5:10, 5:10] = 30
    view[20:40, 20:40, 0] = 200
    mask = largest_shape_on_white(view)
    assert mask.sum() == 400
    assert mask[20:40, 20:40].all()


def test_a_blank_view_has_no_shape():
    assert not largest_shape_on_white(np.full((20, 20, 3), 252, np.uint8)).any()


def test_specks_beside_a_shape_are_dropped_and_its_parts_stay():
    mask = np.zeros((60, 60), np.bool_)
    mask[10:40, 10:40] = True
    parts = mask.copy()
    parts[45:50, 10:20] = True
    speckled = parts.copy()
    speckled[2, 50:53] = True
    speckled[55, 55] = True
    np.testing.assert_array_equal(drop_specks(speckled), parts)
    np.testing.assert_array_equal(drop_specks(mask), mask)
    assert not drop_specks(np.zeros((8, 8), np.bool_)).any()
