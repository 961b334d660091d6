"""How long views take to be finished, one after another: enlarged, cut out and composed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SMOOTHING = 0.3
"""Weight of the newest busy period in the running mean."""


class FinishingTime:
    """A running mean of the seconds that a view takes of what finishes views, over periods in which it is busy.

    Several views are finished at the same time, so this is less than the time from a view's beginning to its end.

    Args:
        clock: monotonic clock, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._in_progress = self._finished = 0
        self._began_s = 0.0
        self._mean_s: float | None = None

    @property
    def view_s(self) -> float:
        """Seconds of one view; 0 before the first."""
        with self._lock:
            return self._mean_s or 0.0

    @contextmanager
    def time_view(self) -> Iterator[None]:
        """Count a view that is finished in the `with` body; one that fails is not counted."""
        with self._lock:
            if not self._in_progress:
                self._began_s, self._finished = self._clock(), 0
            self._in_progress += 1
        failed = True
        try:
            yield
            failed = False
        finally:
            with self._lock:
                self._in_progress -= 1
                self._finished += not failed
                if not self._in_progress and self._finished:
                    self._record((self._clock() - self._began_s) / self._finished)

    def _record(self, view_s: float) -> None:
        before = view_s if self._mean_s is None else self._mean_s
        self._mean_s = (1 - SMOOTHING) * before + SMOOTHING * view_s
