"""The turned object back in its room."""

import numpy as np
import pytest
from PIL import Image

from respin.geometry import Box, Placement, cut, lay
from respin_ensemble.stages.composition import STRIP_PX, compose, paste


def photo_of(height=120, width=160):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


class TestComposition:
    def paste(self, view_mask, fit="view"):
        background = photo_of()
        view = np.zeros((256, 256, 3), np.uint8)
        square, box = Placement(40, 20, 64, 64), Box(50, 30, 90, 80)
        return background, paste(background, view, view_mask, square=square, box=box, fit=fit)

    def view_mask(self):
        mask = np.zeros((256, 256), np.bool_)
        mask[64:192, 96:160] = True
        return mask

    def changed(self, before, after):
        where = (before != after).any(axis=2)
        rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1

    def test_the_view_keeps_its_scale_and_its_middle_lies_on_the_box(self):
        before, after = self.paste(self.view_mask())
        np.testing.assert_allclose(self.changed(before, after), (62, 39, 78, 71), atol=2)
        assert (after[55, 70] == 0).all()

    def test_fitted_into_the_box_the_object_fills_one_side_of_it(self):
        before, after = self.paste(self.view_mask(), fit="box")
        np.testing.assert_allclose(self.changed(before, after), (57.5, 30, 82.5, 80), atol=2)

    def test_pixels_away_from_the_object_are_bit_identical(self):
        before, after = self.paste(self.view_mask())
        np.testing.assert_array_equal(after[:, :58], before[:, :58])
        np.testing.assert_array_equal(after[76:], before[76:])

    def test_the_white_around_a_view_leaves_no_line_around_the_object(self):
        mask = self.view_mask()
        view = np.full((256, 256, 3), 255, np.uint8)
        view[mask] = 80
        # Resampling mixes the object's outermost pixels with the white.
        view[64:192, [96, 159]] = view[[64, 191], 96:160] = 200
        dark = np.full((120, 160, 3), 10, np.uint8)
        after = paste(dark, view, mask, square=Placement(40, 20, 64, 64), box=Box(50, 30, 90, 80), fit="view")
        assert after.max() < 90, "no more than what LANCZOS overshoots"

    def test_narrow_parts_of_an_object_keep_their_colour(self):
        mask = self.view_mask()
        mask[126:130, 160:240] = True
        view = np.where(mask[..., None], np.uint8([80, 0, 0]), np.uint8(255))
        view[126:130, 160:240] = [0, 80, 0]
        after = paste(photo_of(), view, mask, square=Placement(0, 0, 120, 120), box=Box(30, 30, 90, 80), fit="view")
        assert ((after[..., 1] > 60) & (after[..., 0] < 20) & (after[..., 2] < 20)).sum() > 20

    def test_an_object_that_leaves_the_photo_is_clipped(self):
        background = photo_of()
        mask = self.view_mask()
        square = Placement(0, 0, 200, 200)
        after = paste(
            background, np.zeros((256, 256, 3), np.uint8), mask, square=square, box=Box(0, 0, 10, 10), fit="view"
        )
        assert after.shape == background.shape
        assert (after[5, 5] == 0).all()

    def test_a_tiny_shape_fitted_into_a_large_box_stays_within_bounds(self):
        mask = np.zeros((256, 256), np.bool_)
        mask[100:108, 100:108] = True
        before, after = self.paste(mask, fit="box")
        assert after.shape == before.shape

    def test_transparent_pixels_bleed_no_colour_into_the_edge(self):
        view = np.zeros((64, 64, 3), np.uint8)
        view[:, 32:] = (255, 0, 0)
        alpha = np.zeros((64, 64), np.float32)
        alpha[:, 32:] = 1
        pasted = compose(np.full((32, 32, 3), 255, np.uint8), view, alpha, Placement(0, 0, 32, 32))
        assert (pasted[:, :, 0] == 255).all(), "black would show as less red"


class TestPastingInStrips:
    """What lands in the photo is computed in strips; its pixels are those of resizing the whole view at once."""

    def compose_at_once(self, background, view, alpha, place):
        rgba = np.dstack([view, np.rint(alpha * 255).astype(np.uint8)])
        scaled = np.asarray(Image.fromarray(rgba).resize((place.width, place.height), Image.Resampling.LANCZOS))
        below = cut(background, place, fill=0)
        weight = scaled[..., 3:].astype(np.float32) / 255
        mixed = below + weight * (scaled[..., :3].astype(np.float32) - below)
        blended = np.where(weight > 0, np.clip(np.rint(mixed), 0, 255), below).astype(np.uint8)
        return lay(background, blended, place)

    @pytest.mark.parametrize(
        "place",
        [
            Placement(10, 20, 100, 80),
            Placement(-333, -97, 700, 411),
            Placement(-40, 30, 90, 64),
            Placement(50, -30, 72, 200),
            Placement(12, 9, 72, 64),
            Placement(100, 70, 75, 66),
            Placement(140, -10, 30, 27),
        ],
        ids=["inside", "larger than the photo", "same height", "same width", "unchanged", "past two edges", "smaller"],
    )
    def test_gives_the_same_pixels(self, place):
        random = np.random.default_rng(1)
        view = random.integers(0, 256, (64, 72, 3), np.uint8)
        alpha = random.random((64, 72), np.float32) * (random.random((64, 72)) > 0.3)
        expected = self.compose_at_once(photo_of(), view, alpha, place)
        np.testing.assert_array_equal(compose(photo_of(), view, alpha, place, strip_px=3000), expected)

    def test_the_enlarged_view_is_never_whole_in_memory(self, monkeypatch):
        areas = []
        resize = Image.Image.resize

        def counting(image, size, *arguments):
            areas.append(size[0] * size[1])
            return resize(image, size, *arguments)

        monkeypatch.setattr(Image.Image, "resize", counting)
        view, place = np.zeros((64, 64, 3), np.uint8), Placement(-5000, -5000, 10000, 10000)
        compose(photo_of(), view, np.ones((64, 64), np.float32), place)
        assert sum(areas) > 0
        assert max(areas) <= STRIP_PX
