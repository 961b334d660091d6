"""Admission control, without a server."""

import contextlib

import pytest

from respin.contracts import NETWORKS
from respin.errors import Busy, InvalidInput
from respin.limits import EngineLimits
from respin.request import RotationRequest
from respin_ensemble.batching.latency import LatencyForecast
from respin_ensemble.metrics import InMemoryMeter
from respin_ensemble.pipeline.events import JobEvent
from respin_ensemble.serving.admission import Admission, Candidate
from respin_ensemble.serving.forecast import PIXEL, Work
from respin_ensemble.serving.job_size import JobSize

MIB = 2**20

COSTS = {**dict.fromkeys([*NETWORKS, PIXEL], 0.0), "zero123_unet": 0.1}
"""A view of fifty steps takes five seconds alone."""


def candidate(*, views=1, steps=50, memory_mib=1, deadline_s=None, find_cached=tuple):
    request = RotationRequest(b"photo", "cup", azimuth=(10.0,) * views, steps=steps)
    size = JobSize(held_bytes=0, working_bytes=memory_mib * MIB, message_bytes=0)
    return Candidate(request, size, Work.from_request(request, 10**6), find_cached, deadline_s)


class Clock:
    """A clock that a test moves."""

    now_s = 100.0

    def __call__(self):
        return self.now_s


class FixedForecaster:
    """Returns the same forecast for every request."""

    def __init__(self, best_s):
        self.fixed = LatencyForecast(best_s, best_s)

    def forecast(self, *, steps, samples):
        return self.fixed


@pytest.fixture
def meter():
    return InMemoryMeter()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def admission_with(meter, clock):
    def make(best_s=0.0, costs=COSTS, **limits):
        return Admission(EngineLimits(**limits), costs, FixedForecaster(best_s), meter, clock)

    return make


@pytest.fixture
def measured(admission_with, clock):
    """Admission to an engine that was seen to do the work of one second per second."""

    def make(**options):
        admission = admission_with(**options)
        first = admission.admit(candidate())
        clock.now_s += 5
        admission.observe(first, JobEvent("novel_view", step=50, steps=50))
        admission.release(first, answered=True)
        return admission

    return make


def test_one_job_too_many_is_refused_with_a_hint_and_let_in_when_another_has_gone(admission_with, meter):
    admission = admission_with(max_jobs=2)
    reservations = [admission.admit(candidate()) for _ in range(2)]
    with pytest.raises(Busy, match=r"the server has 2 jobs; the limit is 2\. Retry in \d+\.\d s"):
        admission.admit(candidate())
    admission.release(reservations[0], answered=True)
    admission.admit(candidate())
    assert meter.values["respin_rejections_total", "jobs"] == 1


def test_jobs_together_are_bounded_by_the_memory_that_they_may_take(admission_with, meter):
    admission = admission_with(job_memory_mib=30)
    reservation = admission.admit(candidate(memory_mib=20))
    with pytest.raises(Busy, match="the jobs in progress may take 20 MiB and this one 12; the limit is 30"):
        admission.admit(candidate(memory_mib=12))
    admission.admit(candidate(memory_mib=10))
    admission.release(reservation, answered=False)
    admission.admit(candidate(memory_mib=12))
    assert meter.values["respin_rejections_total", "memory"] == 1


def test_jobs_that_wait_for_a_worker_take_only_the_memory_of_their_files(admission_with):
    admission = admission_with(workers=2, job_memory_mib=30)
    for _ in range(10):
        admission.admit(candidate(memory_mib=15))
    assert admission.load == (10, 30 * MIB)


def test_a_job_that_is_alone_is_let_in_whatever_its_size(admission_with):
    admission_with(job_memory_mib=1).admit(candidate(memory_mib=5000))


def test_whoever_was_refused_takes_no_room(admission_with):
    admission = admission_with(max_jobs=1)
    reservation = admission.admit(candidate())
    for _ in range(3):
        with pytest.raises(Busy):
            admission.admit(candidate())
    assert admission.load == (1, MIB)
    admission.release(reservation, answered=True)
    assert admission.load == (0, 0)


def test_a_cancelled_job_frees_its_slot_at_once_and_its_memory_when_its_thread_returns(admission_with):
    admission = admission_with(max_jobs=1)
    cancelled = admission.admit(candidate(memory_mib=7))
    admission.stop(cancelled, late=False)
    assert admission.load == (0, 7 * MIB)
    admission.admit(candidate())
    admission.release(cancelled, answered=False)
    assert admission.load == (1, MIB)


def test_a_deadline_that_no_job_could_meet_is_an_invalid_request(admission_with, meter):
    admission = admission_with(best_s=5.0)
    with pytest.raises(InvalidInput, match=r"the deadline is in 2 s, but 50 steps for 1 view take at least 5 s"):
        admission.admit(candidate(deadline_s=2.0))
    admission.admit(candidate(deadline_s=6.0))
    assert meter.values["respin_rejections_total", "deadline"] == 1


def test_a_job_that_is_alone_is_tried_unless_one_has_just_shown_that_it_would_be_late(measured, clock):
    admission = measured()
    with pytest.raises(Busy, match=r"at the speed of the last jobs this one would take about 5 s; .* Retry in 10\.0 s"):
        admission.admit(candidate(deadline_s=4.0))
    clock.now_s += 10
    admission.admit(candidate(deadline_s=4.0))


def test_until_the_speed_is_measured_jobs_are_admitted_together_only_with_much_time(admission_with, clock):
    admission = admission_with()
    first = admission.admit(candidate(deadline_s=20.0))
    with pytest.raises(Busy, match=r"with 1 jobs in progress this one would take about 10 s\. Retry in"):
        admission.admit(candidate(deadline_s=79.0))
    with pytest.raises(Busy, match="with this job, 1 of 1 jobs would miss their deadlines"):
        admission.admit(candidate())
    clock.now_s += 2
    admission.observe(first, JobEvent("novel_view", step=20, steps=50))
    admission.admit(candidate(deadline_s=20.0))


def test_a_slow_engine_makes_none_of_its_first_jobs_late(admission_with, clock):
    """Simulated: other programs leave it a third of what its single calls have shown."""
    admission, running, late = admission_with(workers=4), [], 0
    for _ in range(400):
        clock.now_s += 0.1
        with contextlib.suppress(Busy):
            running.append((admission.admit(candidate(steps=20, deadline_s=20.0)), clock.now_s + 20, [0.0]))
        for reservation, until_s, done in running[:4]:
            done[0] += 0.33 / len(running[:4])
            admission.observe(reservation, JobEvent("novel_view", step=int(done[0]), steps=20))
            if done[0] >= 20:
                admission.release(reservation, answered=True)
                running = [each for each in running if each[0] is not reservation]
                late += clock.now_s > until_s
    assert late == 0


def test_a_crowd_that_leaves_does_not_make_the_engine_seem_slow(measured, clock):
    admission = measured()
    for _ in range(50):
        left = admission.admit(candidate())
        clock.now_s += 0.2
        admission.stop(left, late=False)
    admission.admit(candidate(deadline_s=6.0))


def test_jobs_that_miss_their_deadlines_show_how_slow_the_engine_is(measured, clock):
    admission = measured()
    slow = admission.admit(candidate(deadline_s=10.0))
    clock.now_s += 10
    admission.stop(slow, late=True)
    with pytest.raises(Busy, match="at the speed of the last jobs this one would take about"):
        admission.admit(candidate(deadline_s=6.0))


def test_the_whole_job_counts_not_only_its_views(measured):
    admission = measured(costs={**COSTS, "inpaint_unet": 0.2})
    admission.admit(candidate(steps=2))
    with pytest.raises(Busy, match=r"the deadline is in 20 s, but .* this one would take about 2\d s"):
        admission.admit(candidate(deadline_s=20.0))
    admission.admit(candidate(deadline_s=70.0))


def test_a_deadline_that_cannot_be_met_among_others_may_be_tried_later(measured):
    admission = measured()
    admission.admit(candidate())
    with pytest.raises(Busy, match=r"with 1 jobs in progress this one would take about 10 s\. Retry in 12\.\d s"):
        admission.admit(candidate(deadline_s=8.0))
    admission.admit(candidate(deadline_s=20.5))


def test_the_queue_for_a_worker_counts(measured):
    admission = measured(workers=1)
    for _ in range(3):
        admission.admit(candidate())
    with pytest.raises(Busy, match="would take about 20 s"):
        admission.admit(candidate(deadline_s=25.0))
    admission.admit(candidate(deadline_s=41.0))


def test_a_job_that_would_make_an_admitted_one_late_is_refused(measured):
    admission = measured()
    admission.admit(candidate(deadline_s=13.0))
    with pytest.raises(Busy, match=r"with this job, 1 of 1 jobs would miss their deadlines\. Retry in 5\.0 s"):
        admission.admit(candidate())
    admission.admit(candidate(steps=10))


def test_what_a_job_has_done_no_longer_delays_others(measured, clock):
    admission = measured()
    first = admission.admit(candidate())
    with pytest.raises(Busy):
        admission.admit(candidate(deadline_s=12.5))
    clock.now_s += 4
    admission.observe(first, JobEvent("novel_view", step=40, steps=50))
    admission.admit(candidate(deadline_s=12.5))


def test_an_engine_that_was_slowed_down_admits_less(measured, clock):
    admission = measured()
    slow = admission.admit(candidate())
    clock.now_s += 60
    admission.observe(slow, JobEvent("novel_view", step=25, steps=50))
    admission.release(slow, answered=False)
    admission.admit(candidate(steps=2))
    with pytest.raises(Busy, match=r"would take about \d\d+ s"):
        admission.admit(candidate(deadline_s=12.0))


def test_what_is_cached_is_found_out_where_it_decides(measured):
    admission = measured(costs={**COSTS, "inpaint_unet": 0.2})
    asked = []

    def find_cached():
        asked.append(True)
        return ("scene", "background")

    admission.admit(candidate(steps=2))
    with pytest.raises(Busy):
        admission.admit(candidate(deadline_s=20.0))
    admission.admit(candidate(deadline_s=80.0, find_cached=find_cached))
    assert not asked
    admission.admit(candidate(steps=2, deadline_s=20.0, find_cached=find_cached))
    assert asked


def test_the_forecast_is_compared_with_what_came_of_it(measured, clock, meter):
    admission = measured()
    reservation = admission.admit(candidate())
    clock.now_s += 10
    admission.release(reservation, answered=True)
    assert meter.observations["respin_job_forecast_ratio", ""][-1] == pytest.approx(2.0)


def test_ten_times_more_work_than_there_is_time_for_misses_no_deadline(measured, clock):
    """Simulated: the engine does the work of one second per second, shared equally by the jobs that run."""
    admission = measured(workers=4, max_jobs=16)
    running, ends = [], []
    for tick in range(1000):
        clock.now_s += 0.1
        steps = 10 + tick % 40
        for _ in range(3):
            with contextlib.suppress(Busy):
                admitted = admission.admit(candidate(steps=steps, deadline_s=12.0))
                running.append((admitted, clock.now_s + 12, [0], steps))
        at_work = running[:4]
        for reservation, deadline_s, done, steps in at_work:
            done[0] += 1 / len(at_work)
            if done[0] >= steps:
                admission.release(reservation, answered=True)
                running = [each for each in running if each[0] is not reservation]
                ends.append(clock.now_s <= deadline_s)
            else:
                admission.observe(reservation, JobEvent("novel_view", step=int(done[0]), steps=steps))
    assert all(ends)
    # The engine was busy all the time: thirty steps on average, ten per second.
    assert len(ends) > 0.9 * 100 / 3
