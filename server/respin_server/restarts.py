"""When a server that has died is started again: backing off, and not for ever."""

from __future__ import annotations

from collections import deque

DEFAULT_RESTARTS = 10
"""Restarts within `WINDOW_S` after which a server that dies again stays down."""

DEFAULT_HELD_MIB = 4096
"""Memory of tritonserver and its shared regions above which it is restarted, MiB: what 64 jobs with photos and answers
of tens of MiB hold at the same time stays below."""

WINDOW_S = 600.0
"""Time over which restarts are counted, seconds."""

_FIRST_DELAY_S = 1.0
_MAX_DELAY_S = 30.0


class RestartPolicy:
    """Decides whether and when a server is restarted.

    The first restart of a window is immediate; the second waits for a second, each further one twice as long as the one
    before, at most half a minute.

    Args:
        restarts: number of restarts within `WINDOW_S`; 0 = none.
    """

    def __init__(self, restarts: int = DEFAULT_RESTARTS) -> None:
        self._restarts = restarts
        self._times_s: deque[float] = deque()

    def next_delay_s(self, now_s: float) -> float | None:
        """Return the time to wait before the restart that is due now, and count it.

        Args:
            now_s: monotonic time, seconds.

        Returns:
            Seconds; None if the restarts of this window are used up.
        """
        while self._times_s and now_s - self._times_s[0] > WINDOW_S:
            self._times_s.popleft()
        before = len(self._times_s)
        if before >= self._restarts:
            return None
        self._times_s.append(now_s)
        return min(_FIRST_DELAY_S * 2 ** (before - 1), _MAX_DELAY_S) if before else 0.0
