"""`respin parity`: the report, link by link, and what it does where a gate is broken."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from markers import rtx
from reference_files import REFERENCE
from typer.testing import CliRunner

from respin.contracts import NETWORKS
from respin.errors import InvalidInput
from respin.report.markdown import with_section
from respin.report.rows import read_rows
from respin_export.errors import ExportMismatch
from respin_export.isolated import TaskFailed
from respin_export.report.commands import check_gates, parity
from respin_export.report.full_size import FullSize
from respin_export.report.page import full_size_text, parity_text
from respin_export.report.rows import LIMIT_MIB, LINKS, Cost, ParityRow

ROOT = Path(__file__).parents[2]
GOOD = ParityRow("edsr", "original → module", "a picture", "upscaled", 1e-6, 2e-5, "share of the greatest magnitude")


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "parity.md"
    path.write_text("# Parity\n<!-- parity: begin -->\nof yore\n<!-- parity: end -->\nthe rest\n")
    return path


@pytest.fixture
def measure(tmp_path, page):
    def run(*arguments, reference=REFERENCE):
        app = typer.Typer()
        app.command()(parity)
        places = ["--reference", reference, "--results", tmp_path / "parity.csv", "--page", page]
        return CliRunner().invoke(app, [str(each) for each in (*arguments, *places, "--plot", tmp_path / "parity.png")])

    return run


def test_a_network_is_measured_link_by_link_and_told_in_table_page_and_picture(measure, tmp_path, page):
    result = measure("edsr")
    assert result.exit_code == 0, result.exception
    rows = read_rows(tmp_path / "parity.csv", ParityRow)
    assert {row.link for row in rows} == set(LINKS)
    assert all(row.passes for row in rows)
    assert len({row.case for row in rows if row.link.startswith("module")}) == 3, "several seeds and shapes"
    assert page.read_text() == with_section(page.read_text(), "parity", parity_text(rows))
    assert page.read_text().endswith("the rest\n")
    assert (tmp_path / "parity.png").read_bytes().startswith(b"\x89PNG")


def test_an_original_that_computes_something_else_breaks_its_gates_and_is_reported_all_the_same(
    measure, tmp_path, page
):
    shutil.copytree(REFERENCE, tmp_path / "reference", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    file = tmp_path / "reference/edsr/reduced/reference.npz"
    outputs = dict(np.load(file))
    outputs["output"] = outputs["output"] * np.float32(1.01)
    np.savez(file, **outputs)
    result = measure("edsr", reference=tmp_path / "reference")
    assert isinstance(result.exception, ExportMismatch)
    assert "break their gates: edsr, original → module" in str(result.exception)
    broken = [row for row in read_rows(tmp_path / "parity.csv", ParityRow) if not row.passes]
    assert {row.link for row in broken} == {"original → module", "original → ONNX FP32", "original → ONNX FP16"}
    assert "**Broken gates:**" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [(["resnet"], {}, "no network 'resnet'"), (["edsr"], {"reference": Path("/nowhere")}, "nowhere")],
    ids=["network", "reference"],
)
def test_what_cannot_be_measured_is_refused_in_words(measure, arguments, options, words):
    result = measure(*arguments, **options)
    assert isinstance(result.exception, InvalidInput)
    assert words in str(result.exception)


def test_a_page_without_the_section_is_refused_before_anything_is_measured(measure, page, tmp_path):
    page.write_text("# Parity\n")
    assert "has no section 'parity'" in str(measure("edsr").exception)
    assert not (tmp_path / "parity.csv").exists()


def test_nan_and_failures_pass_no_gate():
    check_gates([GOOD])
    for bad in (
        replace(GOOD, error=math.nan),
        replace(GOOD, error=3e-5),
        ParityRow.failed("edsr", LINKS[0], "a", "no file"),
    ):
        assert not bad.passes
        with pytest.raises(ExportMismatch, match="1 of 2 comparisons break their gates"):
            check_gates([GOOD, bad])


def test_the_committed_report_is_the_committed_tables_and_covers_every_network_and_link():
    page = (ROOT / "docs/parity.md").read_text()
    rows = read_rows(ROOT / "benchmarks/results/parity.csv", ParityRow)
    assert page == with_section(page, "parity", parity_text(rows)), "run `respin parity`"
    assert {row.network for row in rows} == set(NETWORKS)
    for network in NETWORKS:
        measured = {row.link for row in rows if row.network == network}
        assert measured >= set(LINKS) - {"original → ONNX FP16"}


def test_the_committed_full_size_table_is_its_file_and_within_the_limit_of_memory():
    page = (ROOT / "docs/parity.md").read_text()
    costs = read_rows(ROOT / "benchmarks/results/parity_full.csv", Cost)
    assert page == with_section(page, "full size", full_size_text(costs)), "run `make parity-full`"
    assert {(cost.network, cost.step) for cost in costs} >= {
        (network, step) for network in NETWORKS for step in ("fp32", "fp16", "engine")
    }
    assert max(cost.peak_rss_mib for cost in costs) <= LIMIT_MIB


@rtx
def test_what_fails_at_full_size_is_a_row_that_says_why_and_is_done_again(tmp_path):
    def refuse(tasks, jobs):
        yield from (TaskFailed(name, InvalidInput("no such weights")) for name in tasks)

    told = []
    costs = FullSize(tmp_path, ["edsr"], tell=told.append, run=refuse).measure()
    assert [(cost.step, cost.passes) for cost in costs] == [
        ("weights", False),
        ("fp32", False),
        ("fp16", False),
        ("engine", False),
    ]
    assert told[0] == "weights weights: no such weights"
    assert told[1].startswith("edsr fp32: no edsr checkpoint in")
    assert "no manifest.json" in costs[-1].failure
    text = full_size_text(costs)
    assert text.count("**failed**") == 3
    assert "together take of a GPU is not known" in text
    again = []
    FullSize(tmp_path, ["edsr"], tell=again.append, run=refuse).measure()
    assert again == told


def test_one_instance_of_every_committed_engine_fits_into_nine_gigabytes_of_a_gpu():
    costs = read_rows(ROOT / "benchmarks/results/parity_full.csv", Cost)
    engines = [cost for cost in costs if cost.step == "engine"]
    assert {cost.network for cost in engines} == set(NETWORKS)
    assert sum(cost.file_mib + cost.scratch_mib for cost in engines) < 9 * 1024
