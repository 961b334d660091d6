"""Results kept for later requests."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from patience import PATIENCE_S

from respin.errors import Cancelled
from respin_ensemble.metrics import InMemoryMeter
from respin_ensemble.pipeline.cache import Cache, digest
from respin_ensemble.pipeline.cancellation import Cancellation


def picture(value=0, size=100):
    return np.full(size, value, np.uint8)


@pytest.fixture
def tally():
    return InMemoryMeter()


@pytest.fixture
def cache(tally):
    return Cache("picture", 250, tally)


def counted(tally, what):
    return tally.values[f"respin_cache_{what}", "picture"]


class Watched(Cancellation):
    """Calls a function at each check, which a thread makes while it waits for another's result."""

    def __init__(self, on_check):
        super().__init__()
        self.on_check = on_check

    def check(self):
        self.on_check()
        super().check()


def never():
    raise AssertionError("it should not have been made")


def test_what_was_made_once_is_not_made_again(cache, tally):
    made = cache.get("a", lambda: picture(1))
    assert cache.get("a", never) is made
    assert (counted(tally, "hits_total"), counted(tally, "misses_total")) == (1, 1)


def test_another_key_is_another_result(cache):
    cache.get("a", lambda: picture(1))
    assert cache.get("b", lambda: picture(2))[0] == 2


def test_what_was_used_longest_ago_gives_way(cache, tally):
    for key in "ab":
        cache.get(key, picture)
    cache.get("a", never)
    cache.get("c", picture)
    cache.get("a", never)
    with pytest.raises(AssertionError):
        cache.get("b", never)
    assert counted(tally, "evictions_total") == 1
    assert counted(tally, "bytes") == 200


def test_what_is_larger_than_the_cache_is_answered_and_not_kept(cache, tally):
    cache.get("a", picture)
    assert len(cache.get("huge", lambda: picture(size=300))) == 300
    cache.get("a", never)
    assert len(cache) == 1


def test_without_room_nothing_is_kept_or_counted_as_a_hit(tally):
    cache = Cache("picture", 0, tally)
    assert [cache.get("a", lambda value=value: picture(value))[0] for value in (1, 2)] == [1, 2]
    assert (counted(tally, "hits_total"), counted(tally, "misses_total")) == (0, 2)


def test_many_who_ask_at_once_have_it_made_once(cache, tally):
    release, makers = threading.Event(), []

    def slow():
        makers.append(threading.get_ident())
        assert release.wait(PATIENCE_S)
        return picture(7)

    with ThreadPoolExecutor(4) as users:
        waiting = threading.Semaphore(0)
        jobs = [users.submit(cache.get, "a", slow, Watched(waiting.release)) for _ in range(4)]
        for _ in range(3):
            assert waiting.acquire(timeout=PATIENCE_S)
        release.set()
        assert [job.result(PATIENCE_S)[0] for job in jobs] == [7] * 4
    assert len(makers) == 1
    assert counted(tally, "hits_total") == 3


def test_a_thread_that_waits_computes_the_result_itself_if_the_other_fails(cache):
    begun, waits = threading.Event(), threading.Event()

    def fails():
        begun.set()
        assert waits.wait(PATIENCE_S)
        raise Cancelled("gone")

    with ThreadPoolExecutor(2) as users:
        first = users.submit(cache.get, "a", fails)
        assert begun.wait(PATIENCE_S)
        second = users.submit(cache.get, "a", lambda: picture(3), Watched(waits.set))
        with pytest.raises(Cancelled):
            first.result(PATIENCE_S)
        assert second.result(PATIENCE_S)[0] == 3


def test_a_cancelled_job_stops_waiting(cache):
    begun, release = threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert release.wait(PATIENCE_S)
        return picture(1)

    cancellation = Cancellation()
    cancellation.cancel("gone")
    with ThreadPoolExecutor(1) as users:
        maker = users.submit(cache.get, "a", slow)
        assert begun.wait(PATIENCE_S)
        with pytest.raises(Cancelled):
            cache.get("a", never, cancellation)
        release.set()
        assert maker.result(PATIENCE_S)[0] == 1


ZEROS = np.zeros((2, 3), np.uint8)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((b"ab", b"c"), (b"a", b"bc")),
        (("1",), (1,)),
        ((1,), (1.0,)),
        ((b"",), (None,)),
        ((ZEROS,), (ZEROS.T,)),
        ((ZEROS,), (ZEROS.astype(np.bool_),)),
        ((ZEROS,), (ZEROS + 1,)),
        (((1.0, 2.0),), ((1.0, 2.5),)),
        ((0.35,), (np.nextafter(0.35, 1),)),
    ],
)
def test_other_content_has_another_digest(one, other):
    assert digest(*one) != digest(*other)
    assert digest(*one) == digest(*one)
