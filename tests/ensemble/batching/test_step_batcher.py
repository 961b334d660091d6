"""Samples of all requests share the calls of a UNet, and each ends, fails or leaves by itself."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from counting_unet import SHAPE, Gate, Unet, no_report, run, sample
from patience import PATIENCE_S, await_true

from respin.contracts.networks import ZERO123_UNET
from respin.errors import Busy, Cancelled
from respin_ensemble.batching.latency import LatencyModel
from respin_ensemble.batching.step_batcher import Capacity, StepBatcher
from respin_ensemble.metrics import InMemoryMeter
from respin_ensemble.pipeline.cancellation import Cancellation


@pytest.fixture
def unet():
    return Unet()


@pytest.fixture
def batcher(unet):
    with StepBatcher(unet, ZERO123_UNET) as running:
        yield running


def test_samples_of_one_request_share_every_call_and_leave_when_done(batcher, unet):
    assert sorted(run(batcher, [sample(1, 3), sample(2, 5)])) == [0, 1]
    assert [sorted(seeds) for seeds in unet.calls] == [[1, 2]] * 3 + [[2]] * 2


def test_a_request_joins_at_the_next_call_and_another_goes_on_without_it(batcher, unet):
    gate = Gate(unet)
    with ThreadPoolExecutor(2) as users:
        first = users.submit(run, batcher, [sample(1, 6)])
        gate.await_call()
        second = users.submit(run, batcher, [sample(2, 2)])
        await_true(lambda: batcher.load() >= 8, "the second request")
        gate.let_through(6)
        assert first.result(PATIENCE_S)
        assert second.result(PATIENCE_S)
    # The order of the slots is not promised; that requests share their calls is.
    assert [sorted(seeds) for seeds in unet.calls] == [[1], [1, 2], [1, 2], [1], [1], [1]]


def test_company_changes_nothing(unet):
    with StepBatcher(unet, ZERO123_UNET) as batcher:
        alone = run(batcher, [sample(5, 7)])[0]
    with StepBatcher(unet, ZERO123_UNET) as batcher:
        together = run(batcher, [sample(seed, 3 + seed) for seed in (1, 2, 3)] + [sample(5, 7)])[3]
    np.testing.assert_array_equal(together, alone)


def test_a_sample_comes_as_soon_as_it_is_done(batcher, unet):
    gate = Gate(unet)
    generator = batcher.run([sample(1, 5), sample(2, 2), sample(3, 2)], no_report)
    gate.let_through(2)
    assert sorted(next(generator)) == [1, 2]
    gate.let_through(3)
    assert [sorted(group) for group in generator] == [[0]]


def test_progress_counts_the_steps_of_all_samples(batcher, unet):
    told = []
    list(batcher.run([sample(1, 4), sample(2, 2)], lambda done, steps: told.append((done, steps))))
    assert {steps for _, steps in told} == {6}
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] == 6


def test_latents_of_another_shape_never_share_a_call(unet):
    shapes = []

    def remembering(spec, *, latents, **rest):
        shapes.append(latents.shape[1:])
        return unet(spec, latents=latents, **rest)

    with StepBatcher(remembering, ZERO123_UNET) as batcher, ThreadPoolExecutor(2) as users:
        jobs = [users.submit(run, batcher, [sample(1, 3, shape)]) for shape in (SHAPE, (4, 8, 16))]
        assert [job.result(PATIENCE_S)[0].shape for job in jobs] == [SHAPE, (4, 8, 16)]
    assert sorted(shapes) == [SHAPE] * 3 + [(4, 8, 16)] * 3


def test_a_cancelled_request_has_no_further_call(batcher, unet):
    gate, cancellation = Gate(unet), Cancellation()
    with ThreadPoolExecutor(1) as users:
        job = users.submit(run, batcher, [sample(1, 50)], cancellation=cancellation)
        gate.await_call()
        cancellation.cancel("gone")
        gate.let_through(50)
        with pytest.raises(Cancelled, match="gone"):
            job.result(PATIENCE_S)
    assert len(unet.calls) == 1
    assert batcher.count_samples() == (0, 0)


def test_a_generator_that_is_closed_takes_its_samples_out(batcher, unet):
    generator = batcher.run([sample(1, 2), sample(2, 5000)], no_report)
    assert list(next(generator)) == [0]
    generator.close()
    assert batcher.count_samples() == (0, 0)
    assert len(unet.calls) < 5000


def test_what_the_caller_raises_ends_his_request_alone(batcher):
    def gone(done, steps):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(batcher.run([sample(1, 5000)], gone))
    assert batcher.count_samples() == (0, 0)
    assert sorted(run(batcher, [sample(2, 3)])) == [0]


def test_a_request_that_does_not_fit_is_refused_at_once_and_the_others_go_on(unet):
    gate = Gate(unet)
    with (
        StepBatcher(unet, ZERO123_UNET, capacity=Capacity(started=2, waiting=2)) as batcher,
        ThreadPoolExecutor(1) as users,
    ):
        job = users.submit(run, batcher, [sample(seed, 2) for seed in (1, 2, 3)])
        gate.await_call()
        with pytest.raises(Busy, match=r"zero123_unet has 3 samples queued and this request adds 2; the limit is 4"):
            next(batcher.run([sample(4), sample(5)], no_report))
        gate.let_through(100)
        assert sorted(job.result(PATIENCE_S)) == [0, 1, 2]


def test_closing_ends_what_is_under_way_in_words(unet):
    gate, batcher = Gate(unet), StepBatcher(unet, ZERO123_UNET)
    with ThreadPoolExecutor(2) as users:
        job = users.submit(run, batcher, [sample(1, 50)])
        gate.await_call()
        closing = users.submit(batcher.close)
        gate.let_through(50)
        with pytest.raises(Cancelled, match="stopping"):
            job.result(PATIENCE_S)
        closing.result(PATIENCE_S)
    with pytest.raises(Cancelled, match="stopping"):
        next(batcher.run([sample(1)], no_report))


def test_every_call_is_measured(unet):
    meter = InMemoryMeter()
    with StepBatcher(unet, ZERO123_UNET, meter=meter) as batcher:
        run(batcher, [sample(1, 3), sample(2, 5)])
    assert meter.observations["respin_batch_size", "zero123_unet"] == [2, 2, 2, 1, 1]
    assert len(meter.observations["respin_step_seconds", "zero123_unet"]) == 5
    assert meter.values["respin_unet_busy_seconds_total", "zero123_unet"] > 0


def test_seconds_are_counted_in_the_largest_calls():
    latency = LatencyModel(slots=8)
    assert latency.calls_within(1.0) == 0, "nothing was measured yet"
    latency.record(8, 0.01)
    assert latency.calls_within(0.05) == 5
    assert latency.calls_within(0.004) == 0


def test_a_forecast_comes_from_measured_calls():
    latency = LatencyModel(slots=8)
    assert latency.forecast(steps=50, samples=1, load=0) == (0, 0), "nothing was measured yet"
    latency.record(8, 0.08)
    assert latency.forecast(steps=50, samples=16, load=0) == pytest.approx((8.0, 8.0))
    assert latency.forecast(steps=50, samples=1, load=0) == pytest.approx((0.5, 0.5)), "it may be an eighth of eight"
    assert latency.forecast(steps=50, samples=16, load=10**6) == pytest.approx((8.0, 12.0))
    latency.record(1, 0.03)
    assert latency.forecast(steps=50, samples=1, load=0) == pytest.approx((1.5, 1.5))
    assert latency.forecast(steps=50, samples=3, load=0) == pytest.approx((1.5, 1.5)), "at least as long as one"


def test_the_best_forecast_is_by_the_fastest_call_and_the_usual_one_by_the_mean():
    latency = LatencyModel(slots=8)
    for call_s in (0.01, 0.02):
        latency.record(1, call_s)
    assert latency.forecast(steps=100, samples=1, load=0) == pytest.approx((1.0, 1.1))


def test_a_forecast_knows_who_is_here(batcher, unet):
    gate = Gate(unet)
    with ThreadPoolExecutor(1) as users:
        job = users.submit(run, batcher, [sample(seed, 20) for seed in range(1, 9)])
        gate.await_call()
        gate.let_through()
        gate.await_call()
        best_s, now_s = batcher.forecast(steps=20, samples=8)
        gate.let_through(50)
        job.result(PATIENCE_S)
    assert 0 < best_s < now_s
