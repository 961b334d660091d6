"""Tasks of one job at the same time: none outlives it, and the first failure ends all."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from respin.errors import Cancelled, InternalError
from respin_ensemble.pipeline.cancellation import Cancellation
from respin_ensemble.pipeline.task_group import TaskGroup

SOON_S = 10


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as threads:
        yield threads


def wait_for_cancellation(cancellation):
    """Check again and again, as a job does; an error if nothing cancels it."""
    pause = threading.Event()
    for _ in range(int(SOON_S / 0.01)):
        cancellation.check()
        pause.wait(0.01)
    raise AssertionError("it was not cancelled")


def test_tasks_run_at_the_same_time_and_return_their_results(executor):
    together = threading.Barrier(2)
    with TaskGroup(Cancellation()) as group:
        tasks = [group.start(executor, lambda: together.wait(SOON_S) >= 0) for _ in range(2)]
    assert [task.result() for task in tasks] == [True, True]


def test_the_error_of_a_task_cancels_the_body_and_is_what_the_group_raises(executor):
    def fail():
        raise InternalError("the view is blank")

    def body():
        with TaskGroup(Cancellation()) as group:
            group.start(executor, fail)
            wait_for_cancellation(group.cancellation)

    with pytest.raises(InternalError, match="blank"):
        body()


def test_the_error_of_a_task_is_raised_even_after_the_body_has_ended(executor):
    def fail():
        raise InternalError("the view is blank")

    def body():
        with TaskGroup(Cancellation()) as group:
            group.start(executor, fail)

    with pytest.raises(InternalError, match="blank"):
        body()


def test_the_error_of_the_body_cancels_its_tasks_and_those_not_yet_started(executor):
    begun, failed, ends = threading.Event(), threading.Event(), []

    def go_on(cancellation):
        begun.set()
        try:
            wait_for_cancellation(cancellation)
        except Cancelled as error:
            ends.append(str(error))
            raise

    def body(threads):
        with TaskGroup(Cancellation()) as group:
            group.start(threads, lambda: go_on(group.cancellation))
            waiting.append(group.start(threads, lambda: ends.append("was started")))
            begun.wait(SOON_S)
            failed.set()
            raise InternalError("sampling failed")

    waiting = []
    with ThreadPoolExecutor(1) as threads, pytest.raises(InternalError, match="sampling failed"):
        body(threads)
    assert ends == ["another part of the job failed"]
    assert isinstance(waiting[0].exception(), Cancelled)


def test_a_cancelled_job_cancels_its_tasks_and_says_why(executor):
    job = Cancellation()

    def body():
        with TaskGroup(job) as group:
            group.start(executor, lambda: wait_for_cancellation(group.cancellation))
            job.cancel("the deadline passed")

    with pytest.raises(Cancelled, match="the deadline passed"):
        body()


def test_a_group_that_failed_does_not_cancel_its_job(executor):
    job = Cancellation()
    with pytest.raises(InternalError), TaskGroup(job):
        raise InternalError("sampling failed")
    assert not job.requested


def test_a_group_that_failed_holds_nothing_of_its_job_without_the_garbage_collector(executor):
    class Photo:
        """Many megabytes."""

    def look_at(photo, cancellation):
        try:
            wait_for_cancellation(cancellation)
        except Cancelled as error:
            kept = error  # as a cache does that tells other threads
            raise
        return photo, kept

    def body(photo):
        with TaskGroup(Cancellation()) as group:
            group.start(executor, partial(look_at, photo, group.cancellation))
            raise InternalError("the body failed")

    photo = Photo()
    held = weakref.ref(photo)
    gc.disable()
    try:
        with pytest.raises(InternalError) as caught:
            body(photo)
        caught.value.__traceback__ = None
        del caught, photo
        executor.shutdown()
        assert held() is None
    finally:
        gc.enable()
