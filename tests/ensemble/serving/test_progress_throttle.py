"""How often a caller hears of steps."""

import itertools

import pytest

from respin_ensemble.serving.progress_throttle import ProgressThrottle


@pytest.fixture
def throttle():
    def at(times):
        clock = iter(times)
        return ProgressThrottle(lambda: next(clock))

    return at


def test_steps_come_at_most_ten_times_a_second(throttle):
    times = [step / 1000 for step in range(3000)]
    throttled = throttle(times)
    stages = ("novel_view", "background")
    sent = [time for time in times if throttled.allow(stages[int(time * 1000) % 2])]
    assert 20 <= len(sent) <= 31
    assert min(later - earlier for earlier, later in itertools.pairwise(sent)) >= 0.1


def test_a_stage_that_speaks_all_the_time_does_not_silence_another(throttle):
    throttled = throttle([step / 1000 for step in range(4000)])
    told = [stage for _ in range(2000) for stage in ("novel_view", "background") if throttled.allow(stage)]
    assert min(told.count("novel_view"), told.count("background")) >= 10


def test_the_first_message_is_always_sent(throttle):
    assert throttle([123.0]).allow("novel_view")
