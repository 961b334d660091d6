"""Lets many threads call the GPU at the same time, or one capture a graph."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """While a stream captures, what a call of another thread does to find its kernels may be forbidden.

    A capture waits for the calls under way; calls wait for a capture that waits.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls = self._captures = 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Call, beside other calls."""
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
        """Capture, while nobody calls and nobody else captures."""
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
"""Of this process's GPU."""
