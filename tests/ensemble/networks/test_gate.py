"""Many calls at the same time, or one capture."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from patience import await_true

from respin_ensemble.networks.gate import Gate

SOON_S = 10


@pytest.fixture
def threads():
    with ThreadPoolExecutor(3) as executor:
        yield executor


def test_calls_go_on_beside_each_other(threads):
    gate, together = Gate(), threading.Barrier(2)

    def call():
        with gate.call():
            together.wait(SOON_S)

    for each in [threads.submit(call) for _ in range(2)]:
        each.result(SOON_S)


def test_a_capture_waits_for_the_calls_under_way_and_calls_wait_for_it(threads):
    gate, done, calling, go_on = Gate(), [], threading.Event(), threading.Event()

    def first_call():
        with gate.call():
            calling.set()
            go_on.wait(SOON_S)
            done.append("first call")

    def capture():
        with gate.capture():
            done.append("capture")

    def late_call():
        with gate.call():
            done.append("late call")

    first = threads.submit(first_call)
    calling.wait(SOON_S)
    captured = threads.submit(capture)
    await_true(lambda: gate._captures, "the capture")
    late = threads.submit(late_call)
    assert done == []
    go_on.set()
    for each in (first, captured, late):
        each.result(SOON_S)
    assert done == ["first call", "capture", "late call"]


def test_what_fails_inside_leaves_the_gate_open():
    gate = Gate()
    for enter in (gate.call, gate.capture):
        with pytest.raises(KeyError), enter():
            raise KeyError
    with gate.call():
        pass
    with gate.capture():
        pass
