"""Give free memory back to the operating system.

glibc gives every thread a heap of its own, of which it keeps what was freed: under load, the pictures of jobs that have
ended long ago add up to hundreds of MB.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

TRIM_S = 5.0
"""Least time between two trims, seconds: one takes milliseconds, and what is needed again costs page faults."""


def release_free_memory() -> None:
    """Return the free pages of all heaps to the operating system; does nothing without glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class MemoryTrimmer:
    """Releases free memory from time to time while jobs end, and once after the last.

    Args:
        release: releases it.
        clock: monotonic clock, seconds.
    """

    def __init__(
        self, release: Callable[[], None] = release_free_memory, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._release = release
        self._clock = clock
        self._ended = False
        self._released_s = clock()

    def job_ended(self) -> None:
        """Remember that a job has freed its memory; from any thread."""
        self._ended = True

    def poll(self, *, idle: bool) -> None:
        """Release free memory if a job has ended since the last time; called periodically by one thread.

        Args:
            idle: whether no job is in progress: then there is nothing to wait for.
        """
        if self._ended and (idle or self._clock() - self._released_s >= TRIM_S):
            self._ended = False
            self._release()
            self._released_s = self._clock()
