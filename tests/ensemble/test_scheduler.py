"""Samples of all requests share the calls of a UNet, and each ends, fails or leaves by itself."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from respin.contracts.networks import ZERO123_UNET
from respin.errors import Busy, Cancelled, InternalError
from respin_ensemble.metrics import Tally
from respin_ensemble.sampling import Guidance, Room, Sample, StepScheduler, ddim, guided, leading_schedule
from respin_ensemble.sampling.pace import Pace

SHAPE = (4, 8, 8)
PATIENCE_S = 20


def no_report(done, steps):
    pass


def noise(seed):
    return np.random.default_rng(seed).standard_normal(SHAPE, np.float32)


def sample(seed=1, steps=3, shape=SHAPE):
    generator, schedule = np.random.default_rng(seed), leading_schedule(steps)
    path = ddim(generator.standard_normal(shape, np.float32), schedule, eta=1.0, generator=generator)
    conditions = {"context": np.full((shape[0], 1, 1), seed, np.float32)}
    return Sample(guided(path, Guidance(3.0), steps), steps, shape, conditions)


class Unet:
    """Predicts noise from each sample's own latents, timestep and context; remembers who shared its calls."""

    def __init__(self):
        self.calls = []
        self.before = lambda seeds: None

    def __call__(self, spec, *, latents, timestep, guidance, context):
        seeds = context[:, 0, 0, 0].astype(int).tolist()
        self.before(seeds)
        self.calls.append(seeds)
        return {"noise": latents * timestep[..., None, None] / 1000 + context * guidance[..., None, None] / 10}


class Gate:
    """Holds every call of a UNet until it is let through, one by one."""

    def __init__(self, unet):
        self.arrived, self.through = threading.Semaphore(0), threading.Semaphore(0)
        unet.before = self.wait

    def wait(self, seeds):
        self.arrived.release()
        assert self.through.acquire(timeout=PATIENCE_S)

    def await_call(self):
        assert self.arrived.acquire(timeout=PATIENCE_S)

    def let_through(self, calls=1):
        self.through.release(calls)


@pytest.fixture
def unet():
    return Unet()


@pytest.fixture
def scheduler(unet):
    with StepScheduler(unet, ZERO123_UNET) as running:
        yield running


def gather(groups, finished):
    """Keep what is finished, also where the end is an error."""
    for group in groups:
        finished.update(group)
    return finished


def driven(scheduler, samples, **options):
    """The clean latents by index."""
    return gather(scheduler.drive(samples, no_report, **options), {})


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


def poisoned(unet, seed, how):
    """Have the UNet fail whenever this sample is in the call."""

    def before(seeds):
        if seed in seeds:
            raise how

    unet.before = before


@pytest.mark.parametrize("how", [InternalError("no memory"), ValueError("shapes"), KeyError("noise")])
def test_a_poisoned_sample_fails_alone_and_the_others_of_its_calls_are_done(scheduler, unet, how):
    poisoned(unet, 2, how)
    with ThreadPoolExecutor(3) as users:
        good = [users.submit(driven, scheduler, [sample(seed, 4)]) for seed in (1, 3)]
        bad = users.submit(driven, scheduler, [sample(2, 4)])
        with pytest.raises(InternalError):
            bad.result(PATIENCE_S)
        assert [sorted(job.result(PATIENCE_S)) for job in good] == [[0], [0]]


def test_the_good_samples_of_a_request_come_before_the_failure_of_a_bad_one_is_told(scheduler, unet):
    poisoned(unet, 2, InternalError("no memory"))
    finished = {}
    with pytest.raises(InternalError, match="no memory"):
        gather(scheduler.drive([sample(1, 4), sample(2, 4), sample(3, 4)], no_report), finished)
    assert sorted(finished) == [0, 2]


def test_a_call_that_failed_once_is_made_again_and_nothing_is_lost(scheduler, unet):
    failures = [InternalError("the network's process died")]

    def once(seeds):
        if failures:
            raise failures.pop()

    unet.before = once
    assert sorted(driven(scheduler, [sample(1, 3), sample(2, 3)])) == [0, 1]
    assert sorted(map(len, unet.calls)) == [1, 1, 2, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_noise_that_is_not_finite_is_reported_and_fails_its_sample_alone(unet, value):
    def networks(spec, **arrays):
        answer = unet(spec, **arrays)
        answer["noise"][arrays["context"][:, 0, 0, 0] == 2, 0, 3, 3] = value
        return answer

    tally = Tally()
    with StepScheduler(networks, ZERO123_UNET, meter=tally) as scheduler:
        finished = {}
        with pytest.raises(InternalError, match=r"zero123_unet predicted noise that is not finite at step 1 of 3"):
            gather(scheduler.drive([sample(1, 3), sample(2, 3)], no_report), finished)
    assert list(finished) == [0]
    assert tally.values["respin_sample_failures_total", "zero123_unet"] == 1


def test_a_sampler_that_breaks_fails_its_own_sample(scheduler):
    def broken():
        yield next(sample(1).trajectory)
        raise ZeroDivisionError

    bad = Sample(broken(), 3, SHAPE, sample(1).conditions)
    finished = {}
    with pytest.raises(InternalError, match="ZeroDivisionError"):
        gather(scheduler.drive([bad, sample(2, 3)], no_report), finished)
    assert list(finished) == [1]


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
