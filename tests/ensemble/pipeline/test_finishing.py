"""How long views take to be finished is measured over the periods in which some are."""

import pytest
from small_jobs import request_for

from respin_ensemble.pipeline.finishing import SMOOTHING, FinishingTime


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_views_that_are_finished_at_the_same_time_share_it():
    clock = Clock()
    finishing = FinishingTime(clock)
    assert finishing.view_s == 0
    with finishing.time_view(), finishing.time_view(), finishing.time_view():
        clock.now += 6
    assert finishing.view_s == 2


def test_the_time_between_two_periods_does_not_count_and_the_newest_has_some_weight():
    clock = Clock()
    finishing = FinishingTime(clock)
    for seconds in (2, 4):
        with finishing.time_view():
            clock.now += seconds
        clock.now += 1000
    assert finishing.view_s == pytest.approx(2 + SMOOTHING * 2)


def test_a_view_that_fails_is_not_counted():
    finishing = FinishingTime(Clock())
    with pytest.raises(ZeroDivisionError), finishing.time_view():
        _ = 1 / 0
    assert finishing.view_s == 0


def test_a_job_measures_it_and_passes_it_on_with_its_views(context, run_job, batchers, monkeypatch):
    passed, run = [], batchers.run

    def watch(unet, *arguments, finishing_s=0.0, **options):
        passed.append((unet.name, finishing_s))
        return run(unet, *arguments, finishing_s=finishing_s, **options)

    monkeypatch.setattr(batchers, "run", watch)
    for _ in range(2):
        run_job(request_for(azimuth=[10.0, 20.0], polar=[0.0, 0.0]))
    views = [seconds for name, seconds in passed if name == "zero123_unet"]
    assert views[0] == 0
    assert views[1] > 0
    assert {seconds for name, seconds in passed if name == "inpaint_unet"} == {0}
