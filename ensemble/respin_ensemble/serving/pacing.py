"""How often a caller hears of progress: a step takes milliseconds, and nobody reads a thousand messages a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LEAST_APART_S = 0.1
"""Between two messages of progress to one caller."""

LEAST_APART_OF_A_STAGE_S = 0.15
"""Between two of one stage, so that the background's steps are heard of beside the views'."""


class ProgressPacing:
    """Says of each message of progress whether it may be sent; what may not is dropped: the next one tells more.

    Args:
        clock: seconds that only rise.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last_s: float | None = None
        self._last_of: dict[str, float] = {}

    def allows(self, stage: str) -> bool:
        """Whether a message of this stage may be sent now; if so, it counts as sent."""
        now_s = self._clock()
        with self._lock:
            if self._last_s is not None and now_s - self._last_s < LEAST_APART_S:
                return False
            last_of_stage_s = self._last_of.get(stage)
            if last_of_stage_s is not None and now_s - last_of_stage_s < LEAST_APART_OF_A_STAGE_S:
                return False
            self._last_s = self._last_of[stage] = now_s
            return True
