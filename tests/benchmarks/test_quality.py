"""`respin quality` on the real embedded server."""

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from respin_benchmarks.quality.commands import quality
from respin_benchmarks.quality.measures import BY_NAME
from respin_benchmarks.quality.rows import read_scene_rows

SCENES = 2
QUICK = ["--scenes", f"{SCENES}", "--steps", "2", "--background-steps", "2", "--with-box"]


def run(*arguments):
    app = typer.Typer()
    app.command()(quality)
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    answer = run(*QUICK, "--output", folder, "--page", folder / "docs" / "quality.md")
    assert answer.exit_code == 0, answer.output
    return folder


@pytest.mark.triton
def test_every_scene_is_a_row_with_figures_of_job_and_stages(measured):
    rows = read_scene_rows(measured / "quality_mini.csv")
    assert [row.seed for row in rows] == [1_000_000, 1_000_001]
    for row in rows:
        assert row.failure == ""
        assert {"mask_iou", "view_psnr", "hole_psnr", "ghost", "removed", "edsr_view_gain"} <= set(row.figures)
        assert "found" not in row.figures, "a box that was sent was not found"
        assert row.figure("stray_px") == 0, "whatever the networks paint, the rest of the photo stays as it is"


@pytest.mark.triton
def test_page_plots_and_gallery_are_written(measured):
    page = (measured / "docs" / "quality.md").read_text()
    assert f"set `mini`, {SCENES} scenes" in page
    assert BY_NAME["closer"].title in page
    for name in ("quality_mini.webp", "quality_gallery_mini.webp"):
        assert f"](images/{name})" in page
        assert np.asarray(Image.open(measured / "docs" / "images" / name)).shape[1] > 500


@pytest.mark.triton
def test_the_report_is_written_again_from_its_rows(measured):
    page = measured / "docs" / "quality.md"
    before = page.read_text()
    page.unlink()
    again = run("--report-only", "--output", measured, "--page", page)
    assert again.exit_code == 0, again.output
    assert page.read_text() == before


def test_a_report_without_rows_is_refused(tmp_path):
    answer = run("--report-only", "--output", tmp_path)
    assert "there are no rows" in str(answer.exception)


def test_a_missed_target_is_an_exit_status_only_if_asked_for(tmp_path):
    facts = "seed,kind,objects,azimuth,set_name,command,commit,date,failure,mask_iou"
    (tmp_path / "quality_mini.csv").write_text(f"{facts}\n1000000,chair,1,40,mini,respin quality,abc,2026-11-30,,0.5\n")
    assert run("--report-only", "--output", tmp_path).exit_code == 0
    checked = run("--report-only", "--output", tmp_path, "--check")
    assert checked.exit_code == 1
    assert "1 targets missed: IoU of the mask" in checked.output
