"""When a dead server is started again, and when no more."""

from respin_server.restarts import WINDOW_S, RestartPolicy


def test_the_first_restart_is_immediate_and_later_ones_wait_ever_longer():
    policy = RestartPolicy(9)
    assert [policy.next_delay_s(float(second)) for second in range(9)] == [0, 1, 2, 4, 8, 16, 30, 30, 30]


def test_restarts_beyond_the_limit_are_refused_until_the_window_has_passed():
    policy = RestartPolicy(2)
    assert policy.next_delay_s(0.0) is not None
    assert policy.next_delay_s(10.0) is not None
    assert policy.next_delay_s(WINDOW_S) is None
    assert policy.next_delay_s(WINDOW_S + 1) == 1.0
    assert policy.next_delay_s(3 * WINDOW_S) == 0.0


def test_no_restarts_are_none():
    assert RestartPolicy(0).next_delay_s(0.0) is None
