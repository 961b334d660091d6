"""Show the launcher that the engine does not hang (`respin.drain`)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from respin.drain import HEARTBEAT_FILE_VARIABLE

BEAT_S = 0.5
"""Least time between two beats, seconds."""


class Heartbeat:
    """Touches the launcher's file.

    Args:
        file: the file; None = that of the environment variable.
        clock: monotonic clock, seconds.
    """

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        given = os.environ.get(HEARTBEAT_FILE_VARIABLE)
        self._file = Path(given) if file is None and given else file
        self._clock = clock
        self._beat_s = -BEAT_S

    def beat(self) -> None:
        """Touch the file, unless that was just done; call it from a thread that needs what the jobs need."""
        if self._file is None or self._clock() - self._beat_s < BEAT_S:
            return
        self._beat_s = self._clock()
        # A disk that is full, or a folder that is gone, is no reason to fail.
        with contextlib.suppress(OSError):
            self._file.touch()
