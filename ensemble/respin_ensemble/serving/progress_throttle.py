"""Limit how often a caller receives steps: one takes milliseconds, which would be 1000 messages per second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MIN_INTERVAL_S = 0.1
"""Minimum time between two messages about steps to one caller, seconds."""

MIN_INTERVAL_OF_STAGE_S = 0.15
"""Minimum time between two messages about steps of one stage, so that the background is reported beside the views."""


class ProgressThrottle:
    """Decides which steps of a job are sent. The others are dropped: the next one supersedes them.

    Args:
        clock: monotonic clock, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last_s: float | None = None
        self._last_of: dict[str, float] = {}

    def allow(self, stage: str) -> bool:
        """Return whether a message of this stage may be sent now; if so, it counts as sent."""
        now_s = self._clock()
        with self._lock:
            if self._last_s is not None and now_s - self._last_s < MIN_INTERVAL_S:
                return False
            last_of_stage_s = self._last_of.get(stage)
            if last_of_stage_s is not None and now_s - last_of_stage_s < MIN_INTERVAL_OF_STAGE_S:
                return False
            self._last_s = self._last_of[stage] = now_s
            return True
