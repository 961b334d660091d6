"""How a job ends early: cancelled, or with an error, in whichever part it happens."""

import threading
from dataclasses import replace

import pytest
from small_jobs import Listener, request_for

from respin.errors import Cancelled, InternalError
from respin_ensemble.pipeline.cancellation import Cancellation
from respin_ensemble.pipeline.rotate_object import rotate_object


def hold(networks, unet, *, after, until):
    """Let so many calls of a UNet pass, one more once `until` is set, and none before the event that is returned.

    A job that has to learn of something from that one call has then learnt of it, however the threads are run.
    """
    over = threading.Event()

    def before_run(spec):
        calls = len(networks.fed[unet])
        if spec.name == unet and calls >= after and not (until if calls == after else over).wait(10):
            networks.before_run = lambda spec: None  # the job was not ended: let the test say so

    networks.before_run = before_run
    return over


class WatchedCancellation(Cancellation):
    """Sets an event once a part of the job was cancelled."""

    def __init__(self, parent=None, cancelled=None):
        super().__init__(parent)
        self.cancelled = cancelled or threading.Event()

    def cancel(self, reason):
        super().cancel(reason)
        self.cancelled.set()

    def child(self):
        return WatchedCancellation(self, self.cancelled)


@pytest.mark.parametrize(
    ("stage", "other"), [("novel_view", "inpaint_unet"), ("background", "zero123_unet")], ids=["views", "background"]
)
def test_a_job_that_is_cancelled_in_one_branch_stops_in_the_other(context, networks, stage, other):
    def cancel_in(event):
        if event.stage == stage:
            cancellation.cancel("gone")

    cancellation = WatchedCancellation()
    over = hold(networks, other, after=3, until=cancellation.cancelled)
    request = request_for(azimuth=(80.0,), steps=200, background_steps=200)
    with pytest.raises(Cancelled, match="gone"):
        rotate_object(replace(context, cancellation=cancellation), request, cancel_in)
    assert len(networks.fed[other]) <= 4
    over.set()


@pytest.mark.parametrize(
    "stage",
    ["detection", "segmentation", "background", "novel_view", "super_resolution", "outline", "composition"],
)
def test_a_job_can_be_cancelled_in_every_stage(context, stage):
    def cancel_in(event):
        assert event.stage != "done"
        if event.stage == stage:
            cancellation.cancel("gone")

    cancellation = Cancellation()
    with pytest.raises(Cancelled, match="gone"):
        rotate_object(replace(context, cancellation=cancellation), request_for(azimuth=(80.0,)), cancel_in)


def test_a_report_that_fails_ends_the_job(context):
    def fail(event):
        if event.step > 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        rotate_object(context, request_for(azimuth=(80.0,)), fail)


def test_a_background_that_fails_fails_the_job_with_its_own_words(run_job, networks):
    def broken(**arrays):
        raise InternalError("inpaint_unet failed: no memory")

    networks.inpaint_unet = broken
    with pytest.raises(InternalError, match="inpaint_unet failed"):
        run_job(request_for(azimuth=(80.0,)))


def test_a_view_that_cannot_be_finished_ends_the_job_before_the_others_are_sampled(context, networks):
    def broken(**arrays):
        raise InternalError("edsr failed: no memory")

    networks.edsr = broken
    cancellation = WatchedCancellation()
    # Of twelve views on eight slots four are done after 199 calls, all after 299.
    over = hold(networks, "zero123_unet", after=210, until=cancellation.cancelled)
    request = request_for(azimuth=tuple(map(float, range(12))), steps=200)
    with pytest.raises(InternalError, match="edsr failed"):
        rotate_object(replace(context, cancellation=cancellation), request, Listener())
    assert len(networks.fed["zero123_unet"]) <= 211
    over.set()
