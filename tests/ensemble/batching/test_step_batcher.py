"""Samples of all requests share the calls of a UNet, and each ends, fails or leaves by itself."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from counting_unet import PATIENCE_S, SHAPE, Gate, Unet, driven, no_report, sample

from respin.contracts.networks import ZERO123_UNET
from respin.errors import Busy, Cancelled
from respin_ensemble.batching.latency import Pace
from respin_ensemble.batching.step_batcher import Room, StepScheduler
from respin_ensemble.metrics import Tally


@pytest.fixture
def unet():
    return Unet()


@pytest.fixture
def scheduler(unet):
    with StepScheduler(unet, ZERO123_UNET) as running:
        yield running


def test_samples_of_one_request_share_every_call_and_leave_when_done(scheduler, unet):
    assert sorted(driven(scheduler, [sample(1, 3), sample(2, 5)])) == [0, 1]
    assert [sorted(seeds) for seeds in unet.calls] == [[1, 2]] * 3 + [[2]] * 2


def test_a_request_joins_at_the_next_call_and_another_goes_on_without_it(scheduler, unet):
    gate = Gate(unet)
    with ThreadPoolExecutor(2) as users:
        first = users.submit(driven, scheduler, [sample(1, 6)])
        gate.await_call()
        second = users.submit(driven, scheduler, [sample(2, 2)])
        while scheduler.load() < 8:
            pass
        gate.let_through(6)
        assert first.result(PATIENCE_S)
        assert second.result(PATIENCE_S)
    # Whose slot is dealt first is no promise; that they share their calls is.
    assert [sorted(seeds) for seeds in unet.calls] == [[1], [1, 2], [1, 2], [1], [1], [1]]


def test_company_changes_nothing(unet):
    with StepScheduler(unet, ZERO123_UNET) as scheduler:
        alone = driven(scheduler, [sample(5, 7)])[0]
    with StepScheduler(unet, ZERO123_UNET) as scheduler:
        together = driven(scheduler, [sample(seed, 3 + seed) for seed in (1, 2, 3)] + [sample(5, 7)])[3]
    np.testing.assert_array_equal(together, alone)


def test_a_sample_comes_as_soon_as_it_is_done(scheduler, unet):
    gate = Gate(unet)
    generator = scheduler.drive([sample(1, 5), sample(2, 2), sample(3, 2)], no_report)
    gate.let_through(2)
    assert sorted(next(generator)) == [1, 2]
    gate.let_through(3)
    assert [sorted(group) for group in generator] == [[0]]


def test_progress_counts_the_steps_of_all_samples(scheduler, unet):
    told = []
    list(scheduler.drive([sample(1, 4), sample(2, 2)], lambda done, steps: told.append((done, steps))))
    assert {steps for _, steps in told} == {6}
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] == 6


def test_latents_of_another_shape_never_share_a_call(unet):
    shapes = []

    def remembering(spec, *, latents, **rest):
        shapes.append(latents.shape[1:])
        return unet(spec, latents=latents, **rest)

    with StepScheduler(remembering, ZERO123_UNET) as scheduler, ThreadPoolExecutor(2) as users:
        jobs = [users.submit(driven, scheduler, [sample(1, 3, shape)]) for shape in (SHAPE, (4, 8, 16))]
        assert [job.result(PATIENCE_S)[0].shape for job in jobs] == [SHAPE, (4, 8, 16)]
    assert sorted(shapes) == [SHAPE] * 3 + [(4, 8, 16)] * 3


def test_a_request_that_nobody_waits_for_has_no_further_call(scheduler, unet):
    gate, gone = Gate(unet), threading.Event()
    with ThreadPoolExecutor(1) as users:
        job = users.submit(driven, scheduler, [sample(1, 50)], stopped=gone.is_set)
        gate.await_call()
        gone.set()
        gate.let_through(50)
        with pytest.raises(Cancelled):
            job.result(PATIENCE_S)
    assert len(unet.calls) == 1
    assert scheduler.samples() == (0, 0)


def test_a_generator_that_is_closed_takes_its_samples_out(scheduler, unet):
    generator = scheduler.drive([sample(1, 2), sample(2, 5000)], no_report)
    assert list(next(generator)) == [0]
    generator.close()
    assert scheduler.samples() == (0, 0)
    assert len(unet.calls) < 5000


def test_what_the_caller_raises_ends_his_request_alone(scheduler):
    def gone(done, steps):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(scheduler.drive([sample(1, 5000)], gone))
    assert scheduler.samples() == (0, 0)
    assert sorted(driven(scheduler, [sample(2, 3)])) == [0]


def test_a_request_that_does_not_fit_is_refused_at_once_and_the_others_go_on(unet):
    gate = Gate(unet)
    with (
        StepScheduler(unet, ZERO123_UNET, room=Room(started=2, waiting=2)) as scheduler,
        ThreadPoolExecutor(1) as users,
    ):
        job = users.submit(driven, scheduler, [sample(seed, 2) for seed in (1, 2, 3)])
        gate.await_call()
        with pytest.raises(Busy, match=r"3 pictures are in the making at zero123_unet .* 2 more, at most 4"):
            next(scheduler.drive([sample(4), sample(5)], no_report))
        gate.let_through(100)
        assert sorted(job.result(PATIENCE_S)) == [0, 1, 2]


def test_closing_ends_what_is_under_way_in_words(unet):
    gate, scheduler = Gate(unet), StepScheduler(unet, ZERO123_UNET)
    with ThreadPoolExecutor(2) as users:
        job = users.submit(driven, scheduler, [sample(1, 50)])
        gate.await_call()
        closing = users.submit(scheduler.close)
        gate.let_through(50)
        with pytest.raises(Cancelled, match="stopping"):
            job.result(PATIENCE_S)
        closing.result(PATIENCE_S)
    with pytest.raises(Cancelled, match="stopping"):
        next(scheduler.drive([sample(1)], no_report))


def test_every_call_is_measured(unet):
    tally = Tally()
    with StepScheduler(unet, ZERO123_UNET, meter=tally) as scheduler:
        driven(scheduler, [sample(1, 3), sample(2, 5)])
    assert tally.observations["respin_batch_size", "zero123_unet"] == [2, 2, 2, 1, 1]
    assert len(tally.observations["respin_step_seconds", "zero123_unet"]) == 5
    assert tally.values["respin_unet_busy_seconds_total", "zero123_unet"] > 0


def test_a_forecast_comes_from_measured_calls():
    pace = Pace(slots=8)
    assert pace.forecast(steps=50, samples=1, load=0) == (0, 0), "nothing was measured yet"
    pace.record(8, 0.08)
    assert pace.forecast(steps=50, samples=16, load=0) == pytest.approx((8.0, 8.0))
    assert pace.forecast(steps=50, samples=1, load=0) == pytest.approx((0.5, 0.5)), "it may be an eighth of eight"
    assert pace.forecast(steps=50, samples=16, load=10**6) == pytest.approx((8.0, 12.0))
    pace.record(1, 0.03)
    assert pace.forecast(steps=50, samples=1, load=0) == pytest.approx((1.5, 1.5))
    assert pace.forecast(steps=50, samples=3, load=0) == pytest.approx((1.5, 1.5)), "at least as long as one"


def test_the_best_forecast_is_by_the_fastest_call_and_the_usual_one_by_the_mean():
    pace = Pace(slots=8)
    for call_s in (0.01, 0.02):
        pace.record(1, call_s)
    assert pace.forecast(steps=100, samples=1, load=0) == pytest.approx((1.0, 1.1))


def test_a_forecast_knows_who_is_here(scheduler, unet):
    gate = Gate(unet)
    with ThreadPoolExecutor(1) as users:
        job = users.submit(driven, scheduler, [sample(seed, 20) for seed in range(1, 9)])
        gate.await_call()
        gate.let_through()
        gate.await_call()
        at_best_s, now_s = scheduler.forecast(steps=20, samples=8)
        gate.let_through(50)
        job.result(PATIENCE_S)
    assert 0 < at_best_s < now_s
