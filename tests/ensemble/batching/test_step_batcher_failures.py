"""A failure at a step of the batcher affects only its own sample, and is reported."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from counting_unet import SHAPE, Unet, gather, no_report, run, sample
from patience import PATIENCE_S

from respin.contracts.networks import ZERO123_UNET
from respin.errors import InternalError
from respin_ensemble.batching.step_batcher import StepBatcher
from respin_ensemble.metrics import InMemoryMeter
from respin_ensemble.sampling import Sample


@pytest.fixture
def unet():
    return Unet()


@pytest.fixture
def batcher(unet):
    with StepBatcher(unet, ZERO123_UNET) as running:
        yield running


def poisoned(unet, seed, how):
    """Have the UNet fail whenever this sample is in the call."""

    def before(seeds):
        if seed in seeds:
            raise how

    unet.before = before


@pytest.mark.parametrize("how", [InternalError("no memory"), ValueError("shapes"), KeyError("noise")])
def test_a_poisoned_sample_fails_alone_and_the_others_of_its_calls_are_done(batcher, unet, how):
    poisoned(unet, 2, how)
    with ThreadPoolExecutor(3) as users:
        good = [users.submit(run, batcher, [sample(seed, 4)]) for seed in (1, 3)]
        bad = users.submit(run, batcher, [sample(2, 4)])
        with pytest.raises(InternalError):
            bad.result(PATIENCE_S)
        assert [sorted(job.result(PATIENCE_S)) for job in good] == [[0], [0]]


def test_the_good_samples_of_a_request_come_before_the_failure_of_a_bad_one_is_told(batcher, unet):
    poisoned(unet, 2, InternalError("no memory"))
    finished = {}
    with pytest.raises(InternalError, match="no memory"):
        gather(batcher.run([sample(1, 4), sample(2, 4), sample(3, 4)], no_report), finished)
    assert sorted(finished) == [0, 2]


def test_a_call_that_failed_once_is_made_again_and_nothing_is_lost(batcher, unet):
    failures = [InternalError("the network's process died")]

    def once(seeds):
        if failures:
            raise failures.pop()

    unet.before = once
    assert sorted(run(batcher, [sample(1, 3), sample(2, 3)])) == [0, 1]
    assert sorted(map(len, unet.calls)) == [1, 1, 2, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_noise_that_is_not_finite_is_reported_and_fails_its_sample_alone(unet, value):
    def networks(spec, **arrays):
        answer = unet(spec, **arrays)
        answer["noise"][arrays["context"][:, 0, 0, 0] == 2, 0, 3, 3] = value
        return answer

    meter = InMemoryMeter()
    with StepBatcher(networks, ZERO123_UNET, meter=meter) as batcher:
        finished = {}
        with pytest.raises(InternalError, match=r"zero123_unet predicted noise that is not finite at step 1 of 3"):
            gather(batcher.run([sample(1, 3), sample(2, 3)], no_report), finished)
    assert list(finished) == [0]
    assert meter.values["respin_sample_failures_total", "zero123_unet"] == 1


def test_a_sampler_that_breaks_fails_its_own_sample(batcher):
    def broken():
        yield next(sample(1).trajectory)
        raise ZeroDivisionError

    bad = Sample(broken(), 3, SHAPE, sample(1).conditions)
    finished = {}
    with pytest.raises(InternalError, match="ZeroDivisionError"):
        gather(batcher.run([bad, sample(2, 3)], no_report), finished)
    assert list(finished) == [1]
