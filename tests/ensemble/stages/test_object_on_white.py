"""The object, cut out on a white square as Zero123 expects it."""

import numpy as np
import pytest
from PIL import Image

from respin.geometry import Placement, cut
from respin_ensemble.stages.novel_view import object_on_white


def test_the_object_fills_its_share_of_a_white_square():
    mask = np.zeros((120, 160), np.bool_)
    mask[40:100, 50:90] = True
    picture, square = object_on_white(np.zeros((120, 160, 3), np.uint8), mask, side=64, object_share=0.75)
    assert square == Placement(30, 30, 80, 80)
    assert (picture[0] == 255).all()
    assert (picture[32, 32] == 0).all()
    dark = (picture < 128).all(axis=2)
    assert np.flatnonzero(dark.any(axis=1)).size == pytest.approx(48, abs=1)


def test_an_object_at_the_border_gets_white_where_the_photo_ends():
    mask = np.zeros((60, 60), np.bool_)
    mask[:30, :30] = True
    picture, square = object_on_white(np.zeros((60, 60, 3), np.uint8), mask, side=64, object_share=0.75)
    assert (square.left, square.top) == (-5, -5)
    assert (picture[:5] > 250).all()
    assert (picture[12:20, 12:20] < 5).all()


def test_a_square_larger_than_the_photo_gives_the_same_pixels_in_bands():
    photo = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    mask = np.zeros((120, 160), np.bool_)
    mask[3:117, 5:156] = photo[3:117, 5:156, 0] > 60
    picture, square = object_on_white(photo, mask, side=64, object_share=0.65, band_px=1000)
    alone = np.where(mask[..., None], photo, np.uint8(255))
    at_once = Image.fromarray(cut(alone, square, fill=255)).resize((64, 64), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(picture, at_once)
