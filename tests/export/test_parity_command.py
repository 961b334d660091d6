"""`respin parity`: the report, link by link, and what it does where a gate is broken."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from reference_files import REFERENCE
from typer.testing import CliRunner

from respin.contracts import NETWORKS
from respin.errors import ContractMismatch, InvalidInput
from respin.model_set import ModelSet, NetworkFile, Sizes
from respin.report.circumstances import today
from respin.report.markdown import with_section
from respin.report.rows import read_rows
from respin_export.errors import ExportMismatch
from respin_export.report.commands import check_gates, parity
from respin_export.report.full_size import costs_of
from respin_export.report.page import full_size_text, parity_text
from respin_export.report.rows import LIMIT_MIB, LINKS, STEPS, Cost, ParityRow

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


@pytest.fixture
def sets(tmp_path):
    """The three sets of `make parity-full`, with files of one MiB."""
    for step in STEPS:
        networks = {}
        for network in NETWORKS:
            path = f"{network}/model.onnx"
            (file := tmp_path / step / path).parent.mkdir(parents=True)
            file.write_bytes(bytes(2**20))
            networks[network] = (NetworkFile(path, "0" * 64, 2**20),)
        rows = {
            "export": {"wall_s": 60.0, "peak_rss_mib": 700},
            "parity": {"masks": 1e-6, "iou": 2e-6},
            "engines": {"build_s": 3.0, "peak_rss_bytes": 2**30, "scratch_bytes": 2 * 2**20},
        }
        origin = {table: {network: row for network in NETWORKS} for table, row in rows.items()}
        ModelSet("full", "fp32", Sizes(), networks, origin).save(tmp_path / step)
    return tmp_path


def test_the_full_size_table_is_read_from_the_manifests(sets):
    fp32, _, engine = costs_of(sets)[:3]
    assert (fp32.network, fp32.step, fp32.wall_s, fp32.peak_rss_mib) == ("grounding_dino", "fp32", 60.0, 700)
    assert (fp32.file_mib, fp32.errors, fp32.date) == (1.0, "masks 1.0e-06; iou 2.0e-06", today())
    assert (engine.wall_s, engine.peak_rss_mib, engine.scratch_mib) == (3.0, 1024, 2.0)
    text = full_size_text(costs_of(sets))
    assert "30 steps took 20 min." in text
    assert "| `grounding_dino` | ONNX FP32 | 60 | 700 | 1 |  | masks 1.0e-06; iou 2.0e-06 |" in text
    assert "One instance of each engine plan takes 30 MiB of a GPU: 10 for the weights, 20 for scratch." in text


def test_what_an_engine_does_not_say_is_not_added_up(sets):
    costs = [replace(cost, scratch_mib=math.nan) if cost.network == "edsr" else cost for cost in costs_of(sets)]
    assert "together take of a GPU is not known" in full_size_text(costs)


def test_more_memory_than_the_limit_is_marked(sets):
    assert "**9000**" in full_size_text([replace(cost, peak_rss_mib=9000) for cost in costs_of(sets)])


def test_an_incomplete_set_makes_no_table(sets):
    made = ModelSet.load(sets / "fp16")
    replace(made, networks={"edsr": made.networks["edsr"]}).save(sets / "fp16")
    with pytest.raises(ContractMismatch, match="fp16' lacks grounding_dino, sam_encoder"):
        costs_of(sets)


def test_one_instance_of_every_committed_engine_fits_into_nine_gigabytes_of_a_gpu():
    costs = read_rows(ROOT / "benchmarks/results/parity_full.csv", Cost)
    engines = [cost for cost in costs if cost.step == "engine"]
    assert {cost.network for cost in engines} == set(NETWORKS)
    assert sum(cost.file_mib + cost.scratch_mib for cost in engines) < 9 * 1024
