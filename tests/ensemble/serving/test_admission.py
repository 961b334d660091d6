"""Admission control, without a server."""

import pytest

from respin.errors import Busy, InvalidInput
from respin.limits import EngineLimits
from respin.request import RotationRequest
from respin_ensemble.batching.latency import LatencyForecast
from respin_ensemble.metrics import InMemoryMeter
from respin_ensemble.serving.admission import Admission

MEGAPIXEL = 10**6


def request_for(views=1, steps=50):
    return RotationRequest(b"photo", "cup", azimuth=(10.0,) * views, steps=steps)


@pytest.fixture
def meter():
    return InMemoryMeter()


class FixedForecaster:
    """Returns the same forecast for every request."""

    def __init__(self, best_s, now_s):
        self.fixed = LatencyForecast(best_s, now_s)

    def forecast(self, *, steps, samples):
        return self.fixed


@pytest.fixture
def admission_with(meter):
    def make(forecast=(0.0, 0.0), **limits):
        return Admission(EngineLimits(**limits), FixedForecaster(*forecast), meter)

    return make


def test_one_job_too_many_is_refused_with_a_hint_and_let_in_when_another_has_gone(admission_with, meter):
    admission = admission_with(max_jobs=2)
    reservations = [admission.admit(request_for(), MEGAPIXEL, None) for _ in range(2)]
    with pytest.raises(Busy, match=r"the server has 2 jobs; the limit is 2\. Retry in \d+\.\d s"):
        admission.admit(request_for(), MEGAPIXEL, None)
    admission.release(reservations[0], answered=True)
    admission.admit(request_for(), MEGAPIXEL, None)
    assert meter.values["respin_rejections_total", "jobs"] == 1


def test_photos_together_are_bounded_by_their_pixels(admission_with, meter):
    admission = admission_with(max_megapixels=30)
    reservation = admission.admit(request_for(), 20 * MEGAPIXEL, None)
    with pytest.raises(Busy, match="the photos in progress have 20 megapixels and this one adds 12; the limit is 30"):
        admission.admit(request_for(), 12 * MEGAPIXEL, None)
    admission.admit(request_for(), 10 * MEGAPIXEL, None)
    admission.release(reservation, answered=False)
    admission.admit(request_for(), 12 * MEGAPIXEL, None)
    assert meter.values["respin_rejections_total", "pixels"] == 1


def test_a_photo_that_is_alone_is_let_in_whatever_its_size(admission_with):
    admission_with(max_megapixels=1).admit(request_for(), 50 * MEGAPIXEL, None)


def test_whoever_was_refused_takes_no_room(admission_with):
    admission = admission_with(max_jobs=1)
    reservation = admission.admit(request_for(), MEGAPIXEL, None)
    for _ in range(3):
        with pytest.raises(Busy):
            admission.admit(request_for(), MEGAPIXEL, None)
    assert admission.load == (1, MEGAPIXEL)
    admission.release(reservation, answered=True)
    assert admission.load == (0, 0)


def test_a_deadline_that_no_job_could_meet_is_an_invalid_request(admission_with, meter):
    admission = admission_with(forecast=(5.0, 5.0))
    with pytest.raises(InvalidInput, match=r"the deadline is in 2 s, but 1 views of 50 steps take at least 5 s"):
        admission.admit(request_for(), MEGAPIXEL, 2.0)
    admission.admit(request_for(), MEGAPIXEL, 6.0)
    assert meter.values["respin_rejections_total", "deadline"] == 1


def test_a_deadline_that_cannot_be_kept_among_others_may_be_tried_later(admission_with):
    admission = admission_with(forecast=(5.0, 5.6))
    with pytest.raises(Busy, match=r"with 0 jobs in progress this one would take 5\.6 s\. Retry"):
        admission.admit(request_for(), MEGAPIXEL, 5.2)
    admission.admit(request_for(), MEGAPIXEL, None)


def test_without_views_no_step_is_waited_for(admission_with):
    admission_with(forecast=(5.0, 5.0)).admit(request_for(views=0), MEGAPIXEL, 0.01)
