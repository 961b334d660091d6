"""One thread that notices what no call tells: callers that have gone, deadlines that have passed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

LOOK_S = 0.01
"""How often each caller is looked for."""

GREATEST_SHARE = 0.05
"""Of a core that looking may take: asking Triton whether a caller is there costs 50 µs, on a busy machine 300."""

_log = logging.getLogger(__name__)


class Watch:
    """Looks again and again.

    Args:
        name: of the thread.
        looks: returns what is to be looked at now, each a function that must return soon.
    """

    def __init__(self, name: str, looks: Callable[[], Collection[Callable[[], None]]]) -> None:
        self._looks = looks
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = LOOK_S
        while not self._closing.wait(pause_s):
            began_s = time.perf_counter()
            for look in self._looks():
                try:
                    look()
                except Exception:  # one that cannot be looked for must not hide the others
                    _log.exception("a look failed")
            pause_s = max(LOOK_S, (time.perf_counter() - began_s) / GREATEST_SHARE)
