"""Cooperative cancellation: one object per job, passed to all its parts like a context."""

from __future__ import annotations

import threading

from respin.errors import Cancelled


class Cancellation:
    """A request to stop that the parts of a job check between pieces of work. Thread-safe.

    A child stops with its parent; cancelling a child does not affect its parent.

    Example::

        cancellation = Cancellation()
        ...
        cancellation.check()  # in the job's threads: raises Cancelled once cancel() was called
        ...
        cancellation.cancel("the deadline passed")  # in any thread
    """

    def __init__(self, parent: Cancellation | None = None) -> None:
        self._parent = parent
        self._lock = threading.Lock()
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """Why the work is to stop; None if it is not."""
        if self._reason is not None or self._parent is None:
            return self._reason
        return self._parent.reason

    @property
    def requested(self) -> bool:
        """Whether the work is to stop."""
        return self.reason is not None

    def cancel(self, reason: str) -> None:
        """Request that the work stops; the first reason is kept.

        Args:
            reason: message of the `Cancelled` that `check` raises; it is sent to the caller.
        """
        with self._lock:
            if self._reason is None:
                self._reason = reason

    def check(self) -> None:
        """Return if the work may go on.

        Raises:
            Cancelled: the work is to stop; the message is the reason.
        """
        if (reason := self.reason) is not None:
            raise Cancelled(reason)

    def child(self) -> Cancellation:
        """Return a cancellation that is also requested when this one is."""
        return Cancellation(self)
