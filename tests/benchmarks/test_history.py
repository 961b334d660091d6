"""The ratio benchmarks through time, out of the versions of the results that git holds."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from respin.errors import InvalidInput
from respin_benchmarks.history.__main__ import FILE, SECTION, history_of, main, page_of
from respin_benchmarks.history.ratios import Ratio, ratios_in
from respin_benchmarks.overhead import OverheadRun
from respin_export.report.page import with_section
from respin_export.report.table import read_rows, write_rows

ROOT = Path(__file__).parents[2]
RUN = OverheadRun(75, 0, 110.0, 100.0, 5.0, 28.0, "aaa", "2026-01-01", "2 cores of X", "numpy 1")
SERVER = "a job through the server / in process"


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    git(tmp_path, "init")
    return tmp_path


def committed(folder, *runs):
    write_rows(folder / "overhead.csv", OverheadRun, runs)
    git(folder, "add", ".")
    git(folder, "commit", "-m", "measured")


def test_each_commit_that_was_measured_has_its_ratio_and_its_spread(checkout):
    committed(checkout, RUN, replace(RUN, repeat=1, server_ms=130.0), replace(RUN, repeat=2, server_ms=120.0))
    committed(checkout, replace(RUN, server_ms=105.0, commit="bbb"))
    assert history_of(checkout) == [
        Ratio(SERVER, 1.2, 1.1, 1.3, 3, "aaa", "2026-01-01", "2 cores of X"),
        Ratio(SERVER, 1.05, 1.05, 1.05, 1, "bbb", "2026-01-01", "2 cores of X"),
    ]


def test_a_file_that_is_added_to_tells_each_run_once_with_all_its_repeats(checkout):
    committed(checkout, RUN)
    committed(checkout, RUN, replace(RUN, repeat=1, server_ms=130.0))
    (ratio,) = history_of(checkout)
    assert (ratio.repeats, ratio.median) == (2, 1.2)


def test_what_is_not_committed_is_no_history(checkout):
    committed(checkout, RUN)
    write_rows(checkout / "overhead.csv", OverheadRun, [replace(RUN, commit="new")])
    assert [ratio.commit for ratio in history_of(checkout)] == ["aaa"]


def test_only_repeats_that_were_measured_both_ways_count():
    usual = {"sampler": "ddim", "views": "1", "jobs": "1", "commit": "aaa", "date": "d", "machine": "m"}
    rows = [
        {**usual, "way": "baseline", "runtime": "torch eager", "repeat": "0", "latency_s": "4.0"},
        {**usual, "way": "engine", "runtime": "onnxruntime", "repeat": "0", "latency_s": "1.0"},
        {**usual, "way": "engine", "runtime": "onnxruntime", "repeat": "1", "latency_s": "0.5"},
        {**usual, "way": "engine", "runtime": "onnxruntime", "repeat": "0", "latency_s": "9.0", "jobs": "4"},
    ]
    (ratio,) = ratios_in("jobs_cpu.csv", rows)
    assert (ratio.what, ratio.median, ratio.repeats) == ("the script / a job, cpu, onnxruntime", 4.0, 1)


def test_machines_are_not_mixed(checkout):
    committed(checkout, RUN, replace(RUN, machine="another", server_ms=500.0))
    assert [(ratio.machine, ratio.median) for ratio in history_of(checkout)] == [("2 cores of X", 1.1), ("another", 5)]


def test_outside_a_checkout_it_is_told(tmp_path):
    with pytest.raises(InvalidInput, match=r"has no history: .*run it in a git checkout"):
        main(["--results", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_file_page_and_picture_are_written(checkout, capsys):
    committed(checkout, RUN)
    page = checkout / "page.md"
    page.write_text(f"<!-- {SECTION}: begin -->\n<!-- {SECTION}: end -->\n")
    main(["--results", str(checkout), "--page", str(page)])
    row = f"| {SERVER} | 2026-01-01 | aaa | 2 cores of X | 1.10 (1.10 to 1.10) | 1 |"
    assert row in page.read_text()
    assert row in capsys.readouterr().out
    assert (checkout / "images/history.png").stat().st_size > 0
    assert [each.what for each in read_rows(checkout / FILE, Ratio)] == [SERVER]


def test_the_page_shows_the_committed_history():
    page = (ROOT / "docs/benchmarks.md").read_text()
    ratios = read_rows(ROOT / "benchmarks/results" / FILE, Ratio)
    assert with_section(page, SECTION, page_of(ratios)) == page
