"""Azimuths round an object, and animations of its views."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFilter, ImageSequence

from respin_client import InvalidInput
from respin_client.contact_sheet import CAPTION_PX, GAP_PX, PAPER, TILE_PX, contact_sheet
from respin_client.turntable import arc, back_and_forth, degrees, gif, webp, whole_turn


def discs(count: int) -> list[Image.Image]:
    """Frames of smooth colours, more than a palette holds, each of another tint."""
    across, down = np.meshgrid(np.linspace(0, 255, 96), np.linspace(0, 255, 64))
    tints = np.linspace(0, 255, count)
    return [
        Image.fromarray(np.stack([across, down, np.full_like(across, tint)], axis=-1).astype(np.uint8))
        for tint in tints
    ]


def frames_of(animation) -> list[Image.Image]:
    return [frame.convert("RGB") for frame in ImageSequence.Iterator(animation.pil())]


def durations_of(animation) -> list[int]:
    return [frame.copy().info["duration"] for frame in ImageSequence.Iterator(animation.pil())]


def distance(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).mean())


ENCODERS = pytest.mark.parametrize(
    "encode", [lambda frames: webp(frames, 100, 85), lambda frames: gif(frames, 100)], ids=["webp", "gif"]
)


def test_a_whole_turn_is_evenly_spaced_and_stops_a_step_before_its_start():
    assert whole_turn(0, 4) == (0, 90, 180, 270)
    assert whole_turn(0, 1) == (0,)


@pytest.mark.parametrize("start", [-90, 270, 630])
def test_a_whole_turn_from_elsewhere_stays_within_what_a_request_may_say(start):
    assert whole_turn(start, 4) == (270, 0, 90, 180)


def test_an_arc_holds_both_its_ends():
    assert arc(-60, 60, 5) == (-60, -30, 0, 30, 60)
    assert arc(60, -60, 2) == (60, -60)


@pytest.mark.parametrize(("start", "end"), [(10, 10), (0, 360), (-200, 200)])
def test_an_arc_of_no_length_or_a_whole_turn_is_refused(start, end):
    with pytest.raises(InvalidInput, match="leave --to out to go all round"):
        arc(start, end, 12)


def test_there_are_as_many_views_as_a_request_takes_and_no_more():
    assert len(whole_turn(0, 64)) == len(arc(0, 90, 64)) == 64
    for views in (0, -1, 65):
        with pytest.raises(InvalidInput, match=rf"^views is {views}; send 1 to 64$"):
            whole_turn(0, views)
    with pytest.raises(InvalidInput, match=r"^views is 1; send 2 to 64$"):
        arc(0, 90, 1)


@pytest.mark.parametrize(
    ("azimuth", "label"), [(0, "+0"), (-60, "-60"), (360 / 7, "+51.43"), (354.375, "+354.38"), (-1e-14, "+0")]
)
def test_an_azimuth_is_written_with_its_sign_and_without_noise(azimuth, label):
    assert degrees(azimuth) == label


def test_there_and_back_shows_each_end_once():
    assert back_and_forth("abcd") == list("abcdcb")
    assert back_and_forth("ab") == list("ab")


@ENCODERS
def test_an_animation_holds_every_frame_in_order_and_loops_for_ever(encode):
    frames = discs(12)
    animation = encode(frames)
    shown = frames_of(animation)
    assert len(shown) == 12
    for index, frame in enumerate(shown):
        nearest = min(range(12), key=lambda other: distance(frame, frames[other]))
        assert nearest == index
    assert animation.pil().info["loop"] == 0
    assert durations_of(animation) == [100] * 12


@ENCODERS
def test_equal_frames_are_shown_as_long_as_two(encode):
    first, second = discs(2)
    assert sum(durations_of(encode([first, second, second, first, first]))) == 500


def test_a_gif_takes_as_long_as_it_should_though_it_counts_in_hundredths():
    durations = durations_of(gif(discs(12), 33))
    assert set(durations) == {30, 40}
    assert sum(durations) == pytest.approx(12 * 33, abs=5)


@pytest.mark.parametrize("encode", [lambda frames: gif(frames, 100), lambda frames: webp(frames, 100, 85)])
def test_one_frame_is_an_animation_too(encode):
    assert distance(*frames_of(encode(discs(1))), discs(1)[0]) < 10


def test_a_gifs_frames_have_palettes_of_their_own_and_are_dithered():
    frames = discs(3)
    blur = ImageFilter.BoxBlur(3)
    for frame, shown in zip(frames, frames_of(gif(frames, 100)), strict=True):
        # From afar, dithered colours are the frame's own.
        plain = frame.quantize().convert("RGB")
        assert distance(shown.filter(blur), frame.filter(blur)) < distance(plain.filter(blur), frame.filter(blur))


def test_a_better_webp_is_a_larger_one():
    frames = [frame.effect_spread(5) for frame in discs(3)]
    coarse, fine = webp(frames, 100, 10), webp(frames, 100, 95)
    assert len(coarse) < len(fine)
    assert distance(frames_of(coarse)[1], frames[1]) > distance(frames_of(fine)[1], frames[1])


def test_a_webp_keeps_the_photos_colour_profile():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = discs(2)
    frames[0].info["icc_profile"] = profile
    assert webp(frames, 100, 85).pil().info["icc_profile"] == profile
    assert "icc_profile" not in webp(discs(2), 100, 85).pil().info


def test_a_sheet_has_as_many_columns_as_told_and_a_caption_on_each_tile():
    sheet = contact_sheet([(f"azimuth {degrees(angle)}", Image.new("RGB", (4, 4))) for angle in range(4)], columns=2)
    assert sheet.size == (2 * (TILE_PX + GAP_PX) + GAP_PX, 2 * (TILE_PX + CAPTION_PX + GAP_PX) + GAP_PX)
    captions = [
        sheet.crop((left, top, left + TILE_PX, top + CAPTION_PX))
        for top in (GAP_PX, GAP_PX + TILE_PX + CAPTION_PX + GAP_PX)
        for left in (GAP_PX, GAP_PX + TILE_PX + GAP_PX)
    ]
    blank = Image.new("RGB", (TILE_PX, CAPTION_PX), PAPER).tobytes()
    assert len({caption.tobytes() for caption in captions} - {blank}) == 4
