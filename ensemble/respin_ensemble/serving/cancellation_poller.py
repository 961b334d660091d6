"""A thread that polls for what no callback reports: callers that have disconnected, deadlines that have passed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

POLL_S = 0.01
"""Time between two polls of a caller, seconds."""

MAX_SHARE = 0.05
"""Share of a core that polling may use: asking Triton about one caller takes 50 µs, on a busy machine 300."""

_log = logging.getLogger(__name__)


class CancellationPoller:
    """Calls functions periodically in a thread of its own.

    Args:
        name: name of the thread.
        polls: returns the functions to call now; each must return quickly.
    """

    def __init__(self, name: str, polls: Callable[[], Collection[Callable[[], None]]]) -> None:
        self._polls = polls
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._closing.set()
        self._thread.join()

    def _loop(self) -> None:
        pause_s = POLL_S
        while not self._closing.wait(pause_s):
            began_s = time.perf_counter()
            for poll in self._polls():
                try:
                    poll()
                except Exception:  # a failure for one caller must not hide the others
                    _log.exception("polling a caller failed")
            pause_s = max(POLL_S, (time.perf_counter() - began_s) / MAX_SHARE)
