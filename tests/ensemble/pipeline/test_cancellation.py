"""One way to cancel: a job, its parts, and everything that waits for them."""

import pytest

from respin.errors import Cancelled
from respin_ensemble.pipeline.cancellation import Cancellation


def test_nothing_is_raised_until_the_work_is_cancelled():
    cancellation = Cancellation()
    cancellation.check()
    assert not cancellation.requested
    cancellation.cancel("the deadline passed")
    assert cancellation.requested
    with pytest.raises(Cancelled, match=r"^the deadline passed$"):
        cancellation.check()


def test_the_first_reason_is_kept():
    cancellation = Cancellation()
    cancellation.cancel("the deadline passed")
    cancellation.cancel("the server is stopping")
    assert cancellation.reason == "the deadline passed"


def test_a_part_stops_with_its_job_and_for_the_same_reason():
    job = Cancellation()
    part = job.child().child()
    job.cancel("the caller cancelled")
    with pytest.raises(Cancelled, match="the caller cancelled"):
        part.check()


def test_a_part_that_is_cancelled_stops_neither_its_job_nor_another_part():
    job = Cancellation()
    one, other = job.child(), job.child()
    one.cancel("another part of the job failed")
    assert one.requested
    assert not job.requested
    assert not other.requested
