"""`respin bench`: options are checked before anything is measured, and the documentation is what the rows say."""

import subprocess
import sys
from pathlib import Path

import pytest
from run_bench import bench, measure

from respin.errors import InvalidInput
from respin.report.markdown import with_section
from respin_benchmarks.commands import BENCHMARKS
from respin_benchmarks.sections import SECTIONS, write_sections

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results"
REPORTS = [(page, report) for page, reports in SECTIONS.items() for report in reports]


@pytest.mark.parametrize("name", [*BENCHMARKS, "compare", "report"])
def test_each_benchmark_explains_itself(name):
    assert "Usage:" in measure(name, "--help")


@pytest.mark.parametrize("number", ["0", "-1", "many"])
@pytest.mark.parametrize(("command", "option"), [("load", "--concurrency"), ("in-process", "--calls")])
def test_numbers_that_make_no_sense_are_refused(command, option, number):
    result = bench(command, option, number)
    assert result.exit_code == 2
    assert option in result.output


@pytest.mark.parametrize(
    ("command", "option", "choices"),
    [
        ("in-process", "runtime", "onnxruntime, tensorrt, torch"),
        ("in-process", "network", "grounding_dino"),
        ("in-process", "measure", "served, jobs, networks"),
        ("in-process", "device", "cpu, cuda"),
        ("load", "profile", "cpu, local"),
        ("load", "sampler", "ddim"),
        ("perf", "only", "rotate_object"),
    ],
)
def test_a_choice_that_is_none_is_refused_with_the_choices(command, option, choices, tmp_path):
    result = bench(command, f"--{option}", "nothing", "--results", tmp_path)
    assert isinstance(result.exception, InvalidInput)
    assert str(result.exception).startswith(f"--{option} is 'nothing'; choose of {choices}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_page_without_the_section_is_refused_before_anything_is_measured(name, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("no marks")
    result = bench(name, "--results", tmp_path, "--page", page)
    assert "the page has no section" in str(result.exception)
    assert [file.name for file in tmp_path.iterdir()] == ["page.md"]


@pytest.mark.parametrize(("page", "report"), REPORTS, ids=[report.section for _, report in REPORTS])
def test_the_documentation_shows_the_committed_results(page, report):
    text = (ROOT / page).read_text()
    assert with_section(text, report.section, report.text(RESULTS)) == text, "run `respin bench report`"


def test_one_command_writes_every_section(tmp_path):
    for page, reports in SECTIONS.items():
        (tmp_path / page).parent.mkdir(exist_ok=True)
        marks = "".join(f"<!-- {each.section}: begin -->\n<!-- {each.section}: end -->\n" for each in reports)
        (tmp_path / page).write_text(marks)
    write_sections(RESULTS, tmp_path)
    for page, report in REPORTS:
        assert report.text(RESULTS) in (tmp_path / page).read_text()


def test_without_the_client_a_mistake_is_a_sentence_too(tmp_path):
    command = [sys.executable, "-m", "respin_benchmarks", "compare", "no.csv", "no.csv"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "respin_benchmarks: there is no file 'no.csv'; name two CSV files of benchmarks/results\n"
