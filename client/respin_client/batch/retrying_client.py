"""Repeat calls that a server cannot answer or fails at, for longer than the client itself does."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from respin.errors import Busy, Cancelled, InternalError
from respin.request import RotationRequest
from respin_client.client import Client
from respin_client.results import RotationResult

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 30.0

MAX_ATTEMPTS = 3
"""Number of calls for a job that the server fails at: a model whose process died is back within seconds."""


class RunStopped(Exception):
    """The run ends before the job was done."""


class RetryingClient:
    """Calls of a client with retries, for several threads.

    Args:
        client: client of the server.
        wait_s: how long to go on while no call gets an answer other than UNAVAILABLE, in seconds.
        on_wait: called with the error when such a wait begins.

    Attributes:
        gave_up: the last error of a wait that was too long; None = there was none.
    """

    def __init__(self, client: Client, *, wait_s: float, on_wait: Callable[[Busy], None]) -> None:
        self._client = client
        self._wait_s = wait_s
        self._on_wait = on_wait
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._waiting_since_s: float | None = None
        self.gave_up: Busy | None = None

    def stop(self) -> None:
        """Cancel the calls in flight and refuse new ones; the client is closed."""
        self._stop.set()
        self._client.close()

    def check(self) -> None:
        """Return if calls may still be made.

        Raises:
            RunStopped: `stop` was called, or a wait was too long.
        """
        if self._stop.is_set():
            raise RunStopped

    def rotate_object(self, request: RotationRequest) -> RotationResult:
        """Turn the object, as `Client.rotate_object`, for its pictures and notes.

        Raises:
            RunStopped: the run ends.
            RespinError: as the client; Busy only at the end of a wait that was too long.
        """
        for attempt in range(1, 10**9):
            self.check()
            try:
                result = self._client.rotate_object(request, outputs=("image", "notes"))
            except Exception as error:
                # The calls that `stop` cancels fail in several ways; none is the job's.
                self.check()
                self._check_retry(error, attempt)
            else:
                self._note_answer()
                return result
            backoff_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(attempt - 1, 10))
            # Threads that failed together do not come back together.
            self._stop.wait(backoff_s * random.uniform(0.5, 1.0))
        raise AssertionError

    def _check_retry(self, error: Exception, attempt: int) -> None:
        """Return if the call may be made again, and raise its error if not."""
        if isinstance(error, Busy):
            if self._waited_s(error) >= self._wait_s:
                self.gave_up = error
                self._stop.set()
                raise error
            return
        self._note_answer()
        if not isinstance(error, InternalError | Cancelled) or attempt == MAX_ATTEMPTS:
            raise error

    def _waited_s(self, error: Busy) -> float:
        now_s = time.monotonic()
        with self._lock:
            begins = self._waiting_since_s is None
            self._waiting_since_s = now_s if self._waiting_since_s is None else self._waiting_since_s
            waited_s = now_s - self._waiting_since_s
        if begins:
            self._on_wait(error)
        return waited_s

    def _note_answer(self) -> None:
        with self._lock:
            self._waiting_since_s = None
