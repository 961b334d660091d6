"""The benchmark itself works on a real server; what it measures is not asserted."""

from dataclasses import replace

import pytest
from tritonclient.utils import InferenceServerException

from respin_benchmarks.step_batcher.repository import stepping_server, views_server
from respin_benchmarks.step_batcher.rows import BATCHER, ONE_BY_ONE, TOGETHER
from respin_benchmarks.step_batcher.stepping import FIXED, FIXED_WAITING, MINI, UNETS, SteppingCell, measure_cell
from respin_benchmarks.step_batcher.views import measure_views, request_for

STEPS = 4


@pytest.fixture(scope="module")
def stepping():
    with stepping_server(UNETS) as started:
        yield started


@pytest.fixture(scope="module")
def server():
    with views_server(cache_mib=64) as started:
        yield started


@pytest.mark.triton
@pytest.mark.parametrize(
    ("way", "unet"),
    [(BATCHER, FIXED), (BATCHER, MINI), ("loops", FIXED), ("loops, delay 5 ms", FIXED_WAITING)],
    ids=["step batcher", "step batcher on the mini set", "loops", "loops that wait"],
)
def test_every_step_of_every_request_is_counted(stepping, way, unet):
    run = measure_cell(stepping, SteppingCell(way, unet, "simultaneous", 3), repeat=0, steps=STEPS)
    assert len(run.latencies_ms.split()) == 3
    assert run.steps >= STEPS - 1  # zero123's list of steps may be one shorter or longer
    assert run.steps_per_s == pytest.approx(3 * run.steps / run.wall_s, rel=0.01)


@pytest.mark.triton
def test_a_request_by_itself_shares_no_call(stepping):
    run = measure_cell(stepping, SteppingCell(BATCHER, FIXED, "staggered", 1), repeat=0, steps=STEPS)
    assert run.ramped_ratio == 1
    assert run.period_ms > run.unet_ms >= 10


@pytest.mark.triton
def test_a_unet_that_is_not_served_is_an_error_and_no_figure(stepping):
    with pytest.raises(InferenceServerException, match="zero123_unet-fixed-delay7"):
        measure_cell(
            stepping, SteppingCell(BATCHER, replace(FIXED, delay_ms=7), "simultaneous", 1), repeat=0, steps=STEPS
        )


@pytest.mark.triton
def test_views_of_one_request_share_calls_and_single_requests_make_their_own(server):
    together = measure_views(server, TOGETHER, "on", request_for(1, views=2, steps=STEPS), 0)
    apart = measure_views(server, ONE_BY_ONE, "on", request_for(2, views=2, steps=STEPS), 0)
    assert together.views == apart.views == 2
    # The views' calls are twice as many; the background is kept for the second.
    assert together.unet_calls < apart.unet_calls < 2 * together.unet_calls


@pytest.mark.triton
def test_a_photo_of_another_number_is_new_to_the_caches(server):
    runs = [measure_views(server, TOGETHER, "on", request_for(number, views=1, steps=STEPS), 0) for number in (3, 3, 4)]
    first, again, other = (run.unet_calls for run in runs)
    assert first == other > again
