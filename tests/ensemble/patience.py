"""Wait for a condition that another thread makes true, and fail if it does not."""

import threading
import time
from collections.abc import Callable

PATIENCE_S = 60


def await_true(holds: Callable[[], object], what: str) -> None:
    """Return once `holds()` is true; an AssertionError names what did not happen."""
    pause, until_s = threading.Event(), time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until_s, f"{what} did not happen within {PATIENCE_S} s"
        pause.wait(0.001)
