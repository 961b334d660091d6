"""The benchmark itself works on a real server; what it measures is not asserted."""

from dataclasses import replace

import pytest
from tritonclient.utils import InferenceServerException

from respin_benchmarks.step_scheduler.stepping import FIXED, FIXED_WAITING, MINI, Bench, Cell
from respin_benchmarks.step_scheduler.views import FixedCostServer, request_for

STEPS = 4


@pytest.fixture(scope="module")
def bench():
    with Bench() as started:
        yield started


@pytest.fixture(scope="module")
def server():
    with FixedCostServer(cache_mib=64) as started:
        yield started


@pytest.mark.triton
@pytest.mark.parametrize(
    ("way", "unet"),
    [("scheduler", FIXED), ("scheduler", MINI), ("loops", FIXED), ("loops, delay 5 ms", FIXED_WAITING)],
    ids=["scheduler", "scheduler on the mini set", "loops", "loops that wait"],
)
def test_every_step_of_every_request_is_counted(bench, way, unet):
    run = bench.measured(Cell(way, unet, "simultaneous", 3), repeat=0, steps=STEPS)
    assert len(run.latencies_ms.split()) == 3
    assert run.steps >= STEPS - 1  # zero123's list of steps may be one shorter or longer
    assert 1 <= run.ratio <= 3
    assert 0 < run.busy <= 1


@pytest.mark.triton
def test_a_request_by_itself_shares_no_call(bench):
    run = bench.measured(Cell("scheduler", FIXED, "staggered", 1), repeat=0, steps=STEPS)
    assert (run.ratio, run.ramped_ratio, run.ramped_calls) == (1, 1, run.steps)


@pytest.mark.triton
def test_a_unet_that_is_not_served_is_an_error_and_no_figure(bench):
    with pytest.raises(InferenceServerException, match="zero123_unet-1ms-delay0"):
        bench.measured(Cell("scheduler", replace(FIXED, cost_ms=1.0), "simultaneous", 1), repeat=0, steps=STEPS)


@pytest.mark.triton
def test_views_of_one_request_share_calls_and_single_requests_make_their_own(server):
    together = server.measured("one request", "on", request_for(1, views=2, steps=STEPS), 0)
    apart = server.measured("single requests, one after another", "on", request_for(2, views=2, steps=STEPS), 0)
    assert together.views == apart.views == 2
    assert apart.zero123_unet == 2 * together.zero123_unet
    assert apart.inpaint_unet == together.inpaint_unet  # the background is kept for the second


@pytest.mark.triton
def test_a_photo_of_another_number_is_new_to_the_caches(server):
    runs = [server.measured("one request", "on", request_for(number, views=1, steps=STEPS), 0) for number in (3, 3, 4)]
    assert [run.inpaint_unet > 0 for run in runs] == [True, False, True]
    assert ["vae_encoder=0" in run.other_calls for run in runs] == [False, True, False]
