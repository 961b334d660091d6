"""A thread that polls for what no callback reports: callers that have disconnected, deadlines that have passed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

POLL_S = 0.01
"""Time between two polls of a caller, seconds."""

IDLE_S = 0.5
"""Time between two polls while there is no caller, seconds: an idle process costs next to nothing."""

MAX_SHARE = 0.05
"""Share of a core that polling may use: asking Triton about one caller takes 50 µs of it. What the thread waits for a
busy machine does not count, or callers would be noticed the later the busier it is."""

_log = logging.getLogger(__name__)


class CancellationPoller:
    """Calls functions periodically in a thread of its own.

    Args:
        name: name of the thread.
        polls: returns the functions to call now, none if there is no caller; each must return quickly.
        idle_s: time between two polls while there is no caller, seconds.
        sleep: called with the seconds until the next poll while there are callers.
        thread_time: returns the processor's time that the calling thread has used, seconds.
    """

    def __init__(
        self,
        name: str,
        polls: Callable[[], Collection[Callable[[], None]]],
        *,
        idle_s: float = IDLE_S,
        sleep: Callable[[float], None] = time.sleep,
        thread_time: Callable[[], float] = time.thread_time,
    ) -> None:
        self._polls, self._idle_s, self._sleep, self._thread_time = polls, idle_s, sleep, thread_time
        self._closing = False
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Poll soon: there is a caller."""
        self._changed.set()

    def close(self) -> None:
        """Stop the thread."""
        self._closing = True
        self._changed.set()
        self._thread.join()

    def _loop(self) -> None:
        idle, pause_s = True, POLL_S
        while True:
            if idle:
                self._changed.wait(self._idle_s)
            else:
                # Not interrupted by new callers, which would make a poll of all for each.
                self._sleep(pause_s)
            self._changed.clear()
            if self._closing:
                return
            began_s = self._thread_time()
            idle = not self._poll_all()
            pause_s = max(POLL_S, (self._thread_time() - began_s) / MAX_SHARE)

    def _poll_all(self) -> int:
        """Call all functions, and return how many; the loop's variables would keep the last caller's photo for good."""
        polls = self._polls()
        for poll in polls:
            try:
                poll()
            except Exception:  # a failure for one caller must not hide the others
                _log.exception("polling a caller failed")
        return len(polls)
