"""A lock that lets many threads call the GPU at the same time, or one capture a CUDA graph."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """A readers-writer lock: while a stream captures, calls of other threads may be forbidden by CUDA.

    A capture waits for the calls in progress; new calls wait for a waiting capture.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls = self._captures = 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Hold the lock for a call; other calls may run."""
        with self._changed:
            self._changed.wait_for(lambda: not self._captures)
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Hold the lock for a capture; no call and no other capture may run."""
        with self._changed:
            self._captures += 1
            self._changed.wait_for(lambda: not self._calls)
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._captures -= 1
                self._changed.notify_all()


GPU = Gate()
"""The lock of this process's GPU."""
