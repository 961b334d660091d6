"""Whole jobs whose networks share memory: how a wait for it ends, and that many jobs at once all end."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from patience import await_true
from small_jobs import Listener, request_for

from respin.contracts import NETWORKS
from respin.contracts.networks import UNETS
from respin.errors import Cancelled, InternalError
from respin.gpu_memory import Sharing
from respin_ensemble.batching.batchers import StepBatchers
from respin_ensemble.networks.residency import Residency
from respin_ensemble.networks.shared import SharedNetworks
from respin_ensemble.pipeline.cancellation import Cancellation
from respin_ensemble.pipeline.context import JobContext
from respin_ensemble.pipeline.rotate_object import rotate_object
from respin_ensemble.stages.novel_view import CameraProjection

SIZES = dict.fromkeys(NETWORKS, 2) | dict.fromkeys(UNETS, 3) | {"grounding_dino": 5}
ROOM = 7


class Weights:
    def load(self):
        pass

    def unload(self):
        pass


@pytest.fixture
def residency():
    return Residency({name: Weights() for name in NETWORKS}, Sharing(ROOM, SIZES, unets_stay=False), UNETS)


@pytest.fixture
def shared_context(networks, residency, executor):
    shared = SharedNetworks(networks, residency)
    with StepBatchers(shared) as batchers:
        yield JobContext(shared, batchers, executor, CameraProjection(shared))


def made_by(context, request):
    listener = Listener()
    rotate_object(context, request, listener)
    return listener.made


def test_many_jobs_at_once_get_the_results_of_networks_with_enough_memory(context, shared_context, residency):
    requests = [request_for(azimuth=(20.0, 40.0), seed=seed) for seed in range(6)]
    with ThreadPoolExecutor(len(requests)) as jobs, ThreadPoolExecutor(len(requests)) as backgrounds:
        shared = replace(shared_context, executor=backgrounds)
        answers = list(jobs.map(lambda request: made_by(shared, request), requests))
    wanted = [made_by(context, request) for request in requests]
    for ours, theirs in zip(answers, wanted, strict=True):
        assert ours.keys() == theirs.keys()
        assert ours["image", 1] == theirs["image", 1]
    assert residency.held_bytes <= ROOM
    assert residency.waiting == 0


def start_job(context, request):
    """Runs a job in a thread; returns the list that will hold its error."""
    ended = []

    def run():
        try:
            rotate_object(context, request, Listener())
            ended.append(None)
        except Exception as error:
            ended.append(error)

    threading.Thread(target=run).start()
    return ended


def test_a_job_that_is_cancelled_while_it_waits_for_memory_ends_and_the_next_one_runs(shared_context, residency):
    cancellation = Cancellation()
    with residency.use("zero123_unet"):
        ended = start_job(shared_context.with_cancellation(cancellation), request_for())
        await_true(lambda: residency.waiting == 1, "the wait of the detection")
        cancellation.cancel("the deadline of 2 s passed; the job was stopped")
        await_true(lambda: ended, "the end of the job")
    with pytest.raises(Cancelled, match="the deadline of 2 s passed"):
        raise ended[0]
    assert residency.waiting == 0
    assert made_by(shared_context, request_for(azimuth=(20.0,)))["image", 0]


def test_a_wait_for_memory_ends_with_the_part_of_the_job_that_failed(context, networks):
    residency = Residency(
        {"clip_vision": Weights(), "other": Weights()}, Sharing(1, {"clip_vision": 1, "other": 1}, False)
    )

    def fail(spec):
        if spec.name == "inpaint_unet":
            await_true(lambda: residency.waiting, "the wait of the view")
            raise InternalError("inpaint_unet failed")

    networks.before_run = fail
    shared = replace(context, networks=SharedNetworks(networks, residency))
    with residency.use("other"):
        ended = start_job(shared.with_cancellation(Cancellation()), request_for(azimuth=(20.0,)))
        await_true(lambda: ended, "the end of the job while the memory is taken")
    with pytest.raises(InternalError, match="inpaint_unet failed"):
        raise ended[0]
