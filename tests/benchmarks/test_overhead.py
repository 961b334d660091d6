"""What the server adds to a job."""

from dataclasses import replace
from pathlib import Path

import pytest

from respin.report.markdown import with_section
from respin.report.rows import read_rows
from respin_benchmarks.in_process.engine import request_for_cup
from respin_benchmarks.overhead import SECTION, OverheadRun, page_of, refused, runs_of

ROOT = Path(__file__).parents[2]
ROW = OverheadRun(75, 0, 1000.0, 960.0, 6.0, 30.0, "abc", "2026-11-26", "a laptop", "numpy 1")


@pytest.mark.triton
def test_the_same_job_is_done_by_the_server_and_in_this_process():
    (row,) = runs_of(steps=4, repeats=1, warm_ups=1)
    assert min(row.server_ms, row.in_process_ms, row.encoding_ms) > row.refusal_ms > 0


@pytest.mark.parametrize(("server_ms", "verdict"), [(1008.0, "met"), (1009.0, "**missed**")])
def test_a_twentieth_of_the_job_may_be_added(server_ms, verdict):
    assert f"at most 48.0 ms (5 % of the job, or 20 ms): {verdict}." in page_of([replace(ROW, server_ms=server_ms)])


@pytest.mark.parametrize(("server_ms", "verdict"), [(120.0, "met"), (120.1, "**missed**")])
def test_or_twenty_milliseconds(server_ms, verdict):
    page = page_of([replace(ROW, server_ms=server_ms, in_process_ms=100.0)])
    assert f"at most 20.0 ms (5 % of the job, or 20 ms): {verdict}." in page


def test_how_far_the_differences_lie_apart_is_told():
    runs = [replace(ROW, repeat=repeat, server_ms=960.0 + repeat) for repeat in range(5)]
    assert "The server adds 2.0 ms (the middle half of the differences: 1.0 to 3.0);" in page_of(runs)
    assert "The server adds 40.0 ms (too few repeats to say" in page_of([ROW])


def test_a_request_that_is_answered_is_no_refusal():
    class Yielding:
        def infer(self, model, inputs):
            return None

    with pytest.raises(RuntimeError, match="was not refused"):
        refused(Yielding(), request_for_cup(steps=4, background_steps=4))


def test_the_page_shows_the_committed_results():
    page = (ROOT / "docs/benchmarks.md").read_text()
    rows = read_rows(ROOT / "benchmarks/results/overhead.csv", OverheadRun)
    assert with_section(page, SECTION, page_of(rows)) == page
