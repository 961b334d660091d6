"""When free memory goes back to the operating system."""

import ctypes
import sys

import numpy as np
import pytest

from respin_ensemble.serving.memory import TRIM_S, MemoryTrimmer, release_free_memory


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def released():
    return []


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def trimmer(released, clock):
    return MemoryTrimmer(lambda: released.append(clock()), clock)


def test_an_engine_in_which_no_job_ends_releases_nothing(trimmer, clock, released):
    for _ in range(10):
        clock.now_s += TRIM_S
        trimmer.poll(idle=True)
    assert released == []


def test_under_load_memory_is_released_from_time_to_time_and_after_the_last_job_at_once(trimmer, clock, released):
    for second in range(13):
        clock.now_s = float(second)
        trimmer.job_ended()
        trimmer.poll(idle=False)
    assert released == [5.0, 10.0]
    trimmer.poll(idle=True)
    trimmer.poll(idle=True)
    assert released == [5.0, 10.0, 12.0]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_what_was_freed_is_no_longer_resident():
    def resident_mb():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096 / 1e6

    # Blocks below the least threshold of mmap stay in the heap; the last one holds its end.
    blocks = [np.ones(100_000, np.uint8) for _ in range(1000)]
    held = resident_mb()
    last = blocks.pop()
    del blocks
    release_free_memory()
    assert resident_mb() < held - 50
    assert sys.getsizeof(last) > 0
