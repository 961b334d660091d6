"""Metrics, judgements and tables of the quality report, with known answers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from respin.contracts.networks import GROUNDING_DINO, VAE_ENCODER
from respin.errors import InternalError, InvalidInput, ObjectNotFound
from respin.geometry import Box
from respin.model_set import Sizes
from respin.scenes import HELD_OUT_SEEDS, SceneOptions, render_scene
from respin_benchmarks.quality import metrics
from respin_benchmarks.quality.broken import (
    AS_BUILT,
    BROKEN_STAGES,
    AlteredNetworks,
    broken_text,
    halfway,
)
from respin_benchmarks.quality.jobs import JobOutputs, request_for
from respin_benchmarks.quality.judge import DILATE_PX, composite_ceiling, judge_outputs, stray_pixels
from respin_benchmarks.quality.measures import BY_NAME, missed_targets
from respin_benchmarks.quality.page import ensure_page, quality_text
from respin_benchmarks.quality.pictures import draw_figures, draw_gallery
from respin_benchmarks.quality.rows import SceneRow, azimuth_bin, mean_of, read_scene_rows, write_scene_rows
from respin_benchmarks.quality.session import outputs_or_failure, set_folder
from respin_benchmarks.quality.stages import ClassMeans, is_right_one
from respin_benchmarks.quality.tolerances import TOLERANCES
from respin_ensemble.imaging.masks import dilate

SIZES = Sizes(view_side=64)


def filled(rows, columns, size=(20, 20)):
    mask = np.zeros(size, np.bool_)
    mask[rows, columns] = True
    return mask


def test_psnr_of_one_level_everywhere_is_48_db():
    black = np.zeros((4, 4, 3), np.uint8)
    assert metrics.psnr_db(black, black + np.uint8(1)) == pytest.approx(48.13, abs=0.01)
    assert metrics.psnr_db(black, black) == metrics.MOST_DB
    assert math.isnan(metrics.psnr_db(black, black, np.zeros((4, 4), np.bool_)))


def test_psnr_looks_only_where_it_is_told_to():
    truth, picture = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    picture[0] = 255
    assert metrics.psnr_db(picture, truth, filled(0, slice(None), (4, 4))) == 0
    assert metrics.psnr_db(picture, truth, filled(1, slice(None), (4, 4))) == metrics.MOST_DB


def test_half_covered_masks_and_boxes_have_a_third_of_their_union_in_common():
    one, other = filled(slice(0, 4), slice(0, 4)), filled(slice(0, 4), slice(2, 6))
    assert metrics.mask_iou(one, other) == pytest.approx(1 / 3)
    assert metrics.box_iou(Box(0, 0, 4, 4), Box(2, 0, 6, 4)) == pytest.approx(1 / 3)
    assert metrics.box_iou(Box(0, 0, 4, 4), Box(5, 0, 6, 4)) == 0
    assert metrics.mask_iou(one & ~one, other & ~other) == 0


def test_the_boundary_error_of_a_square_grown_by_two_pixels_is_about_two():
    inner, outer = filled(slice(6, 14), slice(6, 14)), filled(slice(4, 16), slice(4, 16))
    assert metrics.boundary_error_px(inner, inner) == 0
    assert metrics.boundary_error_px(inner, outer) == pytest.approx(2, abs=0.15)
    assert math.isnan(metrics.boundary_error_px(inner, inner & ~inner))


def test_a_ghost_is_the_share_of_the_rim_that_was_left():
    mask = filled(slice(6, 14), slice(6, 14))
    truth = np.full((20, 20, 3), 200, np.uint8)
    photo = truth - np.uint8(100) * filled(slice(5, 15), slice(5, 15))[..., None]
    assert metrics.ghost(photo, photo, truth, mask, 2) == 1
    assert metrics.ghost(truth, photo, truth, mask, 2) == 0
    assert metrics.ghost((photo // 2 + truth // 2), photo, truth, mask, 2) == pytest.approx(0.5)
    assert math.isnan(metrics.ghost(truth, truth, truth, mask, 2))


def test_the_colour_error_does_not_see_where_colours_are():
    truth = np.zeros((2, 2, 3), np.uint8)
    truth[0] = 60
    everywhere = np.ones((2, 2), np.bool_)
    assert metrics.colour_error(truth[::-1], truth, everywhere) == 0
    assert metrics.colour_error(truth + np.uint8(6), truth, everywhere) == 6


@pytest.mark.parametrize(
    ("azimuth", "name"), [(15, "15 to 30"), (-29.9, "15 to 30"), (30, "30 to 60"), (-60, "60 to 90"), (90, "60 to 90")]
)
def test_angles_are_binned_by_their_size(azimuth, name):
    assert azimuth_bin(azimuth) == name


def test_the_right_one_of_two_is_the_one_that_the_box_overlaps_more():
    left, right = Box(0, 0, 10, 10), Box(20, 0, 30, 10)
    assert is_right_one(Box(1, 0, 11, 10), left, right)
    assert not is_right_one(Box(1, 0, 11, 10), right, left)
    assert not is_right_one(None, left, right)


@pytest.fixture(scope="module")
def scene():
    return render_scene(HELD_OUT_SEEDS[3], SceneOptions(size=(192, 256)))


@pytest.fixture(scope="module")
def pair(scene):
    return scene.views(side=SIZES.view_side, object_share=SIZES.object_share)


@pytest.fixture(scope="module")
def perfect(scene, pair):
    """What a job would return that knows the truth, as far as it may change the photo."""
    hole = dilate(scene.target.mask, DILATE_PX)
    background = np.where(hole[..., None], scene.background, scene.photo)
    image = np.where(dilate(scene.turned_mask, 3)[..., None], scene.turned, background)
    view = pair.after.repeat(4, axis=0).repeat(4, axis=1)
    return JobOutputs(scene.target.mask, scene.target.box, 0.9, view, background, image)


def judged(scene, pair, outputs):
    return judge_outputs(scene, outputs, pair, {"copy": pair.before, "class_mean": pair.before}, SIZES)


def test_the_truth_is_judged_perfect(scene, pair, perfect):
    figures = judged(scene, pair, perfect)
    ones = ("found", "box_iou", "box_close", "mask_iou", "fills_better", "closer")
    assert {name: figures[name] for name in ones} == dict.fromkeys(ones, 1)
    assert figures["view_psnr"] == figures["hole_psnr"] == metrics.MOST_DB
    assert figures["silhouette"] == 1
    assert figures["colour_error"] == figures["boundary_px"] == figures["stray_px"] == figures["ghost"] == 0
    assert figures["over_copy"] > 60


def test_the_photo_left_alone_is_judged_as_nothing_done(scene, pair, perfect):
    lazy = replace(perfect, view=perfect.view * 0 + 255, background=scene.photo, image=scene.photo)
    figures = judged(scene, pair, lazy)
    assert figures["closer"] == figures["fills_better"] == figures["silhouette"] == 0
    assert figures["composite_psnr"] == figures["photo_psnr"]
    assert figures["ghost"] == 1


def test_a_job_without_a_picture_counts_against_detection_and_the_whole_job(scene, pair):
    figures = judged(scene, pair, None)
    assert (figures["found"], figures["box_iou"], figures["closer"]) == (0, 0, 0)
    assert "view_psnr" not in figures
    assert figures["view_psnr_copy"] > 0


def test_true_parts_are_closer_than_the_photo(scene):
    large = scene.views(side=4 * SIZES.view_side, object_share=SIZES.object_share)
    assert composite_ceiling(scene, large, SIZES)["closer_ceiling"] == 1


def test_each_pixel_changed_elsewhere_is_counted(scene, perfect):
    repainted = scene.photo.copy()
    repainted[0, :3] ^= 1
    spoilt = replace(perfect, background=repainted, image=repainted)
    assert stray_pixels(scene.photo, perfect, SIZES) == 0
    assert stray_pixels(scene.photo, spoilt, SIZES) == 3
    assert stray_pixels(scene.photo, replace(perfect, background=scene.photo, image=repainted), SIZES) == 3


def test_a_class_mean_is_a_view_of_its_own(scene, pair):
    mean = ClassMeans(SIZES.view_side, SIZES.object_share, range(3)).view(scene)
    assert mean.shape == pair.after.shape
    assert (mean[0] == 255).all()
    assert metrics.psnr_db(mean, pair.after) < 40


def test_a_request_asks_for_the_true_move_by_name(scene):
    request = request_for(scene, steps=3)
    assert (request.class_name, request.box, request.steps) == (scene.target.kind, None, 3)
    assert request.azimuth == (scene.azimuth,)
    assert request_for(scene, with_box=True).box == tuple(scene.target.box.to_array())


@pytest.mark.parametrize("error", [ObjectNotFound("no 'chair'"), InternalError("came out blank")])
def test_a_job_that_fails_leaves_its_reason(error):
    def job(request):
        raise error

    assert outputs_or_failure(job, None) == (None, str(error))


FACTS = {"set_name": "mini", "command": "respin quality --scenes 2", "commit": "abc", "date": "2026-11-30"}


def row(**figures):
    return SceneRow(1_000_000, "chair", 1, -45.0, **FACTS, figures=figures)


def test_rows_survive_their_file(tmp_path):
    rows = [row(mask_iou=0.5, false_box=0.0), replace(row(mask_iou=0.25), kind="lamp", failure="no 'lamp', in words")]
    write_scene_rows(tmp_path / "rows.csv", rows)
    assert read_scene_rows(tmp_path / "rows.csv") == rows
    assert read_scene_rows(tmp_path / "none.csv") == []


def test_means_leave_out_what_was_not_measured():
    rows = [row(mask_iou=0.5), row(mask_iou=1.0), row(), row(mask_iou=math.nan)]
    assert mean_of(rows, "mask_iou") == 0.75
    assert math.isnan(mean_of(rows, "closer"))


def test_targets_are_met_from_the_side_that_is_better():
    assert missed_targets([row(mask_iou=0.9, false_box=0.05, closer=0.9)]) == []
    assert missed_targets([row(mask_iou=0.89, false_box=0.06)]) == [BY_NAME["false_box"], BY_NAME["mask_iou"]]
    assert BY_NAME["mask_iou"].met([row()]) is None


def test_the_table_holds_result_baselines_target_and_verdict():
    text = quality_text(
        [row(mask_iou=0.8, box_mask_iou=0.4, silhouette=0.9), row(mask_iou=1.0)], ["edsr is not trained"], "images"
    )
    assert "| segmentation | IoU of the mask | 0.900 | the found box 0.400 | at least 0.900 | yes |" in text
    assert "\n* **edsr is not trained**\n" in text
    assert "`respin quality --scenes 2`, 2026-11-30, commit abc: set `mini`, 2 scenes" in text


def test_a_missed_target_and_a_failure_stand_out():
    text = quality_text([replace(row(mask_iou=0.1), failure="the view came out blank")], [], "images")
    assert "| at least 0.900 | **no** |" in text
    assert "1 jobs returned no picture; the first error: the view came out blank" in text


def test_a_page_is_made_once_and_keeps_what_else_it_says(tmp_path):
    page = tmp_path / "docs" / "quality.md"
    ensure_page(page)
    page.write_text(page.read_text() + "my words\n")
    ensure_page(page)
    assert page.read_text().endswith("my words\n")
    (tmp_path / "other.md").write_text("no marks")
    with pytest.raises(InvalidInput, match="no section 'quality'"):
        ensure_page(tmp_path / "other.md")


def test_a_set_is_named_or_is_a_folder(tmp_path):
    assert set_folder("mini").name == "mini"
    (tmp_path / "manifest.json").touch()
    assert set_folder(str(tmp_path)) == tmp_path
    with pytest.raises(InvalidInput, match="'none' is not a set"):
        set_folder("none")


def test_the_gallery_shows_what_there_is(tmp_path, scene, perfect):
    draw_gallery([(scene, perfect), (scene, None)], tmp_path / "gallery.webp")
    draw_figures([row(view_psnr=20.0, view_psnr_copy=12.0, view_psnr_class_mean=16.0), row()], tmp_path / "plot.webp")
    gallery = np.asarray(Image.open(tmp_path / "gallery.webp"))
    upper, lower = gallery[16 : 16 + 144, 192:384], gallery[176 : 176 + 144, 192:384]
    assert upper.min() < 5, "a mask has black"
    assert lower.min() > 250, "no mask, no tile"
    assert (tmp_path / "plot.webp").stat().st_size > 0


class Remembering:
    """Networks that keep what they are sent."""

    sizes = SIZES

    def __call__(self, spec, **arrays):
        self.sent = arrays
        return {}


def test_only_the_altered_input_of_the_altered_network_changes():
    networks, image = Remembering(), np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    broken = AlteredNetworks(networks, (VAE_ENCODER, "image", lambda array: array[:, ::-1]))
    broken(GROUNDING_DINO, image=image, input_ids=image)
    np.testing.assert_array_equal(networks.sent["image"], image)
    broken(VAE_ENCODER, image=image)
    np.testing.assert_array_equal(networks.sent["image"][0, 0], image[0, 2])
    assert broken.sizes is SIZES


@pytest.mark.parametrize("stage", BROKEN_STAGES, ids=lambda stage: stage.title)
def test_a_broken_stage_changes_something_and_names_a_measure_with_a_tolerance(stage):
    assert stage.measure in TOLERANCES
    assert stage.options or stage.alteration
    if stage.alteration:
        spec, tensor, alter = stage.alteration
        (wire,) = (each for each in spec.inputs if each.name == tensor)
        array = np.random.default_rng(0).normal(size=(2, *(n if isinstance(n, int) else 8 for n in wire.shape)))
        altered = alter(array.astype(np.float32))
        assert altered.shape == array.shape
        assert not np.allclose(altered, array)


def test_the_table_of_broken_stages_proposes_what_separates_them():
    swapped = next(stage for stage in BROKEN_STAGES if stage.measure == "colour_error")
    measured = {AS_BUILT: [row(colour_error=4.0, mask_iou=0.9)], swapped: [row(colour_error=30.0, mask_iou=0.9)]}
    assert halfway(BY_NAME["colour_error"], measured) == 17
    assert halfway(BY_NAME["mask_iou"], measured) is None
    assert "| 17.0 / 255 |" in broken_text(measured)
