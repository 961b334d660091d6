"""The quality report's table by kind, angle and number of objects: values and baselines of known scenes."""

import pytest

from respin.bundled import bundled_path
from respin.scenes import HELD_OUT_SEEDS, SceneOptions, render_scene
from respin_benchmarks.quality.jobs import JobOutputs
from respin_benchmarks.quality.measures import DASH, MEASURES
from respin_benchmarks.quality.page import quality_text
from respin_benchmarks.quality.rows import SceneRow
from respin_benchmarks.quality.session import SceneJudge
from respin_ensemble.networks.onnx import OnnxNetworks

VIEW_TITLE = "novel view: PSNR of the view (copy / class mean / VAE ceiling)"


def row(kind="chair", azimuth=-45.0, objects=1, **figures):
    return SceneRow(HELD_OUT_SEEDS[0], kind, objects, azimuth, "mini", figures=figures)


def view(ours, copy, mean, ceiling):
    return {
        "view_psnr": ours,
        "view_psnr_copy": copy,
        "view_psnr_class_mean": mean,
        "view_psnr_ceiling": ceiling,
    }


def by_group(*rows):
    """Return the cells of the report's second table: group by group, of each "stage: measure"."""
    lines = quality_text(rows, [], "images").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("| stage | measure | all |"))
    end = lines.index("", begin)
    (_, _, *groups), _, *cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[begin:end])
    return {f"{stage}: {title}": dict(zip(groups, texts, strict=True)) for stage, title, *texts in cells}


def test_a_scene_counts_in_all_its_kind_its_bin_and_its_number_of_objects():
    table = by_group(row("chair", -29.9), row("chair", 30.0, objects=2), row("lamp", -90.0, objects=2))
    assert table[": number of scenes"] == {
        "all": "3",
        "chair": "2",
        "sofa": "0",
        "laptop": "0",
        "lamp": "1",
        "15 to 30 degrees": "1",
        "30 to 60 degrees": "1",
        "60 to 90 degrees": "1",
        "1 object": "1",
        "2 objects": "2",
    }


def test_a_cell_is_the_mean_of_its_scenes_with_the_baselines_of_the_same_scenes_behind_it():
    table = by_group(
        row("chair", 20, **view(22.0, 12.0, 17.0, 30.0)), row("sofa", -80, objects=2, **view(24.0, 15.0, 18.0, 31.0))
    )
    cells = table[VIEW_TITLE]
    assert cells["all"] == "23.0 dB (13.5 / 17.5 / 30.5)"
    assert cells["chair"] == cells["15 to 30 degrees"] == cells["1 object"] == "22.0 dB (12.0 / 17.0 / 30.0)"
    assert cells["sofa"] == cells["60 to 90 degrees"] == cells["2 objects"] == "24.0 dB (15.0 / 18.0 / 31.0)"


def test_shares_keep_their_percent_signs_and_a_measure_without_baselines_has_no_brackets():
    table = by_group(row(closer=1.0, closer_ceiling=1.0, false_box=0.0), row(closer=0.0, closer_ceiling=1.0))
    assert table["whole job: scenes closer to the truth than the photo (true parts)"]["all"] == "50.0% (100.0%)"
    assert table["detection: absent name found"]["all"] == "0.0%"


def test_a_group_without_the_figure_shows_a_dash():
    table = by_group(row(**view(22.0, 12.0, 17.0, 30.0)), row(objects=2, right_of_two=1.0, view_psnr_copy=12.0))
    two = table["detection: right one of two objects"]
    assert (two["all"], two["1 object"], two["2 objects"]) == ("100.0%", DASH, "100.0%")
    assert table[VIEW_TITLE]["2 objects"] == DASH, "the job failed: no baselines behind a dash"
    assert table[VIEW_TITLE]["sofa"] == DASH


def test_a_baseline_that_no_scene_has_is_not_named():
    table = by_group(row(mask_iou=0.9, hole_psnr=23.0, hole_psnr_ns=20.0), row(objects=2, hole_psnr=24.0))
    assert table["segmentation: IoU of the mask"]["all"] == "0.900"
    hole = table["inpainting: PSNR of the hole (Navier-Stokes)"]
    assert hole["1 object"] == "23.0 dB (20.0)"
    assert hole["2 objects"] == f"24.0 dB ({DASH})", "each value in brackets keeps its place"


def test_every_measure_has_a_line_of_its_own():
    titles = list(by_group(row()))[1:]
    assert titles == [f"{measure.stage}: {measure.title}" for measure in MEASURES]


@pytest.fixture(scope="module")
def judged():
    """Figures of a scene with two objects, for a job that returned the truth."""
    networks = OnnxNetworks.from_set(bundled_path("models/mini"))
    scene = render_scene(HELD_OUT_SEEDS[3], SceneOptions(size=(192, 256), two_objects=1.0))
    pair = scene.views(side=networks.sizes.view_side, object_share=networks.sizes.object_share)
    large_view = pair.after.repeat(4, axis=0).repeat(4, axis=1)
    outputs = JobOutputs(scene.target.mask, scene.target.box, 0.9, large_view, scene.background, scene.turned)
    return SceneJudge(networks).figures(scene, outputs)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_every_measure_and_baseline_is_a_figure_of_a_scene(judged, measure):
    assert {measure.name, *measure.baselines.values()} <= set(judged)
