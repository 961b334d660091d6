"""The benchmark itself works on a real server; what it measures is not asserted."""

from dataclasses import replace

import pytest
from tritonclient.utils import InferenceServerException

from respin.contracts.networks import ZERO123_UNET
from respin_benchmarks.step_batcher.rows import AT_ONCE, BATCHER, COST_MS, LOOPS, ONE_BY_ONE, TOGETHER
from respin_benchmarks.step_batcher.server import batcher_server
from respin_benchmarks.step_batcher.stepping import SteppingCell, measure_cell
from respin_benchmarks.step_batcher.views import measure_views

STEPS = 4
CELL = SteppingCell(BATCHER, ZERO123_UNET.name, "simultaneous", 3)


@pytest.fixture(scope="module")
def server():
    with batcher_server() as started:
        yield started


@pytest.mark.triton
@pytest.mark.parametrize("way", [BATCHER, LOOPS])
def test_every_step_of_every_request_is_counted(server, way):
    run = measure_cell(server, replace(CELL, way=way), repeat=0, steps=STEPS)
    assert len(run.latencies_ms.split()) == 3
    assert run.steps >= STEPS - 1  # zero123's list of steps may be one shorter or longer
    assert run.steps_per_s == pytest.approx(3 * run.steps / run.wall_s, rel=0.01)


@pytest.mark.triton
def test_a_request_by_itself_shares_no_call(server):
    run = measure_cell(server, replace(CELL, arrival="staggered", concurrency=1), repeat=0, steps=STEPS)
    assert run.ramped_ratio == 1
    assert run.period_ms > run.unet_ms >= COST_MS


@pytest.mark.triton
def test_a_driver_that_fails_is_an_error_and_no_figure(server):
    with pytest.raises(InferenceServerException, match="a step failed"):
        measure_cell(server, CELL, repeat=0, steps=-1)


@pytest.mark.triton
def test_views_of_one_request_share_calls_and_single_requests_make_their_own(server):
    runs = [measure_views(server, way, views=2, steps=STEPS, repeat=0) for way in (TOGETHER, AT_ONCE, ONE_BY_ONE)]
    together, at_once, apart = (run.unet_calls for run in runs)
    assert {run.views for run in runs} == {2}
    assert apart == 2 * together  # nothing is kept for the second
    assert together <= at_once <= apart
