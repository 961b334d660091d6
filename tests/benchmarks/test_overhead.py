"""What the server adds to a job."""

from dataclasses import replace

import pytest

from respin_benchmarks.in_process.engine import request_for_cup
from respin_benchmarks.overhead import COLUMNS, OverheadRun, measure_overhead, page_of, send_refused

HERE = {"commit": "abc", "date": "2026-11-26", "machine": "a laptop", "versions": "numpy 1"}
TIMES = {"server_ms": 1000.0, "in_process_ms": 960.0, "refusal_ms": 6.0, "encoding_ms": 30.0}
ROW = OverheadRun(**HERE, **TIMES, steps=75, repeat=0)


@pytest.mark.triton
def test_the_same_job_is_done_by_the_server_and_in_this_process():
    rows = list(measure_overhead(steps=4, repeats=2, warm_ups=1))
    assert [(row.steps, row.repeat) for row in rows] == [(4, 0), (4, 1)]
    assert all(getattr(row, name) > 0 for row in rows for name in COLUMNS)


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
        send_refused(Yielding(), request_for_cup(steps=4, background_steps=4))
