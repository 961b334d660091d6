"""The files through which the launcher and the engine's process know of each other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from respin.drain import DRAIN_FILE_VARIABLE, HEARTBEAT_FILE_VARIABLE

_POLL_S = 0.05


class EngineFiles:
    """The files of one server; see `respin.drain`.

    Args:
        folder: holds them.
    """

    def __init__(self, folder: Path) -> None:
        self._drain, self._heartbeat = folder / "drain", folder / "heartbeat"

    def renew(self) -> Mapping[str, str]:
        """Forget an earlier engine, and return the environment variables that tell the next one of the files."""
        self._drain.unlink(missing_ok=True)
        return {DRAIN_FILE_VARIABLE: str(self._drain), HEARTBEAT_FILE_VARIABLE: str(self._heartbeat)}

    def heartbeat(self) -> int | None:
        """Return a number that changes twice a second while the engine works; None = it has not begun."""
        with contextlib.suppress(OSError):
            return self._heartbeat.stat().st_mtime_ns
        return None

    def drain(self, deadline_s: float, is_running: Callable[[], bool]) -> bool:
        """Let the jobs in progress finish: once Triton is stopping, it refuses the calls that they make.

        Args:
            deadline_s: monotonic time until which to wait, seconds.
            is_running: whether the engine still runs.

        Returns:
            Whether none is left: they have finished, or there is no engine.
        """
        self._drain.touch()
        while self._drain.exists() and time.monotonic() < deadline_s and is_running():
            time.sleep(_POLL_S)
        return not self._drain.exists() or not is_running()
