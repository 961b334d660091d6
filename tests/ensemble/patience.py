"""Wait for a condition that another thread makes true, and fail if it does not."""

import threading
import time
from collections.abc import Callable

PATIENCE_S = 60


def await_true(holds: Callable[[], object], what: str) -> None:
    """Return once `holds()` is true; an AssertionError says what was waited for."""
    pause, until_s = threading.Event(), time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until_s, f"not within {PATIENCE_S} s: {what}"
        pause.wait(0.01)
