"""Training data look like what the job sends to the networks."""

import numpy as np
import pytest

from respin.contracts.networks import IMAGE_HEIGHT
from respin.geometry import Size, cut, fit_within
from respin.scenes import TRAINING_SEEDS, render_scene
from respin_ensemble.imaging.masks import dilate
from respin_ensemble.stages.inpainting import crop_around, prepare
from respin_ensemble.stages.novel_view import object_on_white
from respin_export.mini.sizes import SIZES
from respin_export.training.chunks import Chunks, render_chunks
from respin_export.training.inpainting import grown, room_with_hole
from respin_export.training.views import coverage, cut_out, render_views


@pytest.fixture(scope="module")
def scene():
    return render_scene(TRAINING_SEEDS[7])


def test_a_room_with_a_hole_is_what_the_job_makes_of_it(scene):
    hole = dilate(scene.target.mask, 50)
    wanted, masked, repaint = room_with_hole(scene.photo, scene.background, hole)
    place = crop_around(hole, Size.from_array(scene.photo))
    fit = fit_within(place.size, SIZES.inpaint_side, IMAGE_HEIGHT.multiple_of)
    image, theirs = prepare(cut(scene.photo, place, fill=0), cut(hole, place, fill=0), fit)
    height, width = theirs.shape
    np.testing.assert_array_equal(repaint[:height, :width], theirs > 0)
    known = ~repaint[:height, :width]
    photo = (image.transpose(1, 2, 0) + 1) * 127.5
    # Near the hole the resizing has seen what the hole will show, which differs from the photo.
    difference = np.abs(photo - masked[:height, :width])[known]
    assert np.median(difference) == 0
    assert (wanted[:height, :width][repaint[:height, :width]] != 128).any()


def test_a_grown_mask_is_the_dilated_one_but_for_its_odd_side(scene):
    ours, theirs = grown(scene.target.mask, 50), dilate(scene.target.mask, 51)
    np.testing.assert_array_equal(ours, theirs)


def test_the_view_to_turn_has_the_scale_of_a_cut_out(scene):
    pair = scene.views(side=SIZES.view_side, object_share=SIZES.object_share)
    served, _ = object_on_white(scene.photo, scene.target.mask, side=SIZES.view_side, object_share=SIZES.object_share)
    shown, expected = (image.min(axis=2) < 200 for image in (served, pair.before))
    assert (shown & expected).sum() / (shown | expected).sum() > 0.9


def test_views_of_a_seed_are_the_same_every_time_and_of_another_seed_others():
    once, again, other = (render_views([seed]) for seed in (3, 3, 4))
    for name in once:
        np.testing.assert_array_equal(once[name], again[name])
    assert not np.array_equal(once["target"], other["target"])


def test_a_cut_out_has_faults_at_its_edge_and_white_around_it():
    views = render_views([5])
    exact, ragged = views["input"][0, 0], views["ragged"][0, 0]
    assert not np.array_equal(exact, ragged)
    assert (ragged[:4] == 255).all()
    inside = cut_out(exact, exact.min(axis=2) < 250, np.random.default_rng(0))
    assert np.abs(inside.astype(int) - exact).mean() < 20


def test_coverage_counts_the_pixels_of_each_cell():
    mask = np.zeros((128, 128), bool)
    mask[:8, :4] = True
    assert coverage(mask)[0, 0] == 128
    assert coverage(mask).sum() == 128


def squares(seeds):
    return {"square": np.array([[seed**2] for seed in seeds])}


def test_chunks_are_rendered_once_and_read_as_one_list(tmp_path):
    counts = []
    for _ in range(2):
        render_chunks(tmp_path / "squares", squares, range(10), chunk=4, jobs=1, on_chunk=counts.append)
    assert sorted(counts) == [2, 4, 4]
    chunks = Chunks(tmp_path / "squares")
    assert len(chunks) == 10
    assert [int(chunks.sample(index)["square"][0]) for index in (0, 5, 9)] == [0, 25, 81]
    np.testing.assert_array_equal(chunks.column("square")[:, 0], np.arange(10) ** 2)
    with pytest.raises(FileNotFoundError, match="no training data in nothing"):
        Chunks(tmp_path / "nothing")
