"""How often callers are polled, without a server."""

import threading
import weakref

import pytest
from patience import PATIENCE_S, await_true

from respin_ensemble.serving.cancellation_poller import POLL_S, CancellationPoller


def test_without_callers_nothing_is_polled_until_one_comes():
    asked, polled, callers = [], threading.Event(), []

    def polls():
        asked.append(len(callers))
        return callers

    poller = CancellationPoller("test", polls, idle_s=3600)
    assert asked == []
    callers.append(polled.set)
    poller.wake()
    assert polled.wait(PATIENCE_S)
    assert 0 not in asked
    poller.close()


@pytest.mark.parametrize("callers", [1, 64])
def test_a_busy_machine_does_not_delay_the_polls(callers):
    """What a poll waits for is not what it costs: only the processor's time counts."""
    pauses, enough = [], threading.Event()

    def sleep(pause_s):
        pauses.append(pause_s)
        if len(pauses) == 5:
            enough.set()

    waiting = threading.Event()
    polls = [lambda: waiting.wait(0.001)] * callers
    # No time passes on this thread's clock, however long a poll takes.
    poller = CancellationPoller("test", lambda: polls, sleep=sleep, thread_time=lambda: 1.0)
    poller.wake()
    assert enough.wait(PATIENCE_S)
    poller.close()
    assert set(pauses) == {POLL_S}


def test_a_poll_that_fails_hides_no_other(caplog):
    polled = threading.Event()

    def broken():
        raise RuntimeError("gone")

    poller = CancellationPoller("test", lambda: [broken, polled.set])
    poller.wake()
    assert polled.wait(PATIENCE_S)
    poller.close()
    assert "polling a caller failed" in caplog.text


def test_a_caller_who_has_gone_is_forgotten_with_his_photo():
    polled = threading.Event()

    class Caller:
        def poll(self):
            polled.set()

    callers = [Caller()]
    last = weakref.ref(callers[0])
    poller = CancellationPoller("test", lambda: [each.poll for each in callers])
    poller.wake()
    assert polled.wait(PATIENCE_S)
    callers.clear()
    await_true(lambda: last() is None, "nothing refers to the caller")
    poller.close()
