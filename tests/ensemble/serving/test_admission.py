"""Who is let in, without a server."""

import pytest

from respin.errors import Busy, InvalidInput
from respin.limits import EngineLimits
from respin.request import RotationRequest
from respin_ensemble.batching.latency import Forecast
from respin_ensemble.metrics import Tally
from respin_ensemble.serving.admission import Admission

MEGAPIXEL = 10**6


def request_for(views=1, steps=50):
    return RotationRequest(b"photo", "cup", azimuth=(10.0,) * views, steps=steps)


@pytest.fixture
def tally():
    return Tally()


class Oracle:
    """Says of every request the same."""

    def __init__(self, at_best_s, now_s):
        self.answer = Forecast(at_best_s, now_s)

    def forecast(self, *, steps, samples):
        return self.answer


@pytest.fixture
def door(tally):
    def open_to(forecast=(0.0, 0.0), **limits):
        return Admission(EngineLimits(**limits), Oracle(*forecast), tally)

    return open_to


def test_one_job_too_many_is_refused_with_a_hint_and_let_in_when_another_has_gone(door, tally):
    admission = door(max_jobs=2)
    places = [admission.admit(request_for(), MEGAPIXEL, None) for _ in range(2)]
    with pytest.raises(Busy, match=r"2 jobs are here already, .*; try again in \d+\.\d s"):
        admission.admit(request_for(), MEGAPIXEL, None)
    admission.leave(places[0], answered=True)
    admission.admit(request_for(), MEGAPIXEL, None)
    assert tally.values["respin_rejections_total", "jobs"] == 1


def test_photos_together_are_bounded_by_their_pixels(door, tally):
    admission = door(max_megapixels=30)
    place = admission.admit(request_for(), 20 * MEGAPIXEL, None)
    with pytest.raises(Busy, match="the photos here have 20 megapixels and this one 12, together the server holds 30"):
        admission.admit(request_for(), 12 * MEGAPIXEL, None)
    admission.admit(request_for(), 10 * MEGAPIXEL, None)
    admission.leave(place, answered=False)
    admission.admit(request_for(), 12 * MEGAPIXEL, None)
    assert tally.values["respin_rejections_total", "pixels"] == 1


def test_a_photo_that_is_alone_is_let_in_whatever_its_size(door):
    door(max_megapixels=1).admit(request_for(), 50 * MEGAPIXEL, None)


def test_whoever_was_refused_takes_no_room(door):
    admission = door(max_jobs=1)
    place = admission.admit(request_for(), MEGAPIXEL, None)
    for _ in range(3):
        with pytest.raises(Busy):
            admission.admit(request_for(), MEGAPIXEL, None)
    assert admission.here == (1, MEGAPIXEL)
    admission.leave(place, answered=True)
    assert admission.here == (0, 0)


def test_a_deadline_that_no_job_could_keep_is_the_callers_to_mend(door, tally):
    admission = door(forecast=(5.0, 5.0))
    with pytest.raises(InvalidInput, match=r"the deadline is 2 s away, 1 views of 50 steps take 5 s here at best"):
        admission.admit(request_for(), MEGAPIXEL, 2.0)
    admission.admit(request_for(), MEGAPIXEL, 6.0)
    assert tally.values["respin_rejections_total", "deadline"] == 1


def test_a_deadline_that_cannot_be_kept_among_others_may_be_tried_later(door):
    admission = door(forecast=(5.0, 5.6))
    with pytest.raises(Busy, match=r"with the 0 jobs that are here this one would take 5\.6 s; try again"):
        admission.admit(request_for(), MEGAPIXEL, 5.2)
    admission.admit(request_for(), MEGAPIXEL, None)


def test_without_views_no_step_is_waited_for(door):
    door(forecast=(5.0, 5.0)).admit(request_for(views=0), MEGAPIXEL, 0.01)
