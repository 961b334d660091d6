"""Whoever waits for an answer, as several threads may speak to him."""

from __future__ import annotations

import threading

import triton_python_backend_utils as pb_utils

from respin_ensemble.serving.replies import FINAL


class Caller:
    """A response sender that is never used again once the last response is sent.

    Triton frees a request's state with its last response; asking afterwards whether it was cancelled, which another
    thread may be just about to do, takes the whole server down (Triton 2.51).
    """

    def __init__(self, sender: pb_utils.InferenceResponseSender) -> None:
        self._sender = sender
        self._lock = threading.Lock()
        self._answered = False

    def send(self, response: pb_utils.InferenceResponse) -> None:
        """Send one of several responses; nothing is sent after the last."""
        with self._lock:
            if not self._answered:
                self._sender.send(response, 0)

    def send_last(self, response: pb_utils.InferenceResponse) -> None:
        """Send the last response."""
        with self._lock:
            if not self._answered:
                self._answered = True
                self._sender.send(response, FINAL)

    def is_gone(self) -> bool:
        """Whether the caller cancelled or went away before the last response."""
        with self._lock:
            return not self._answered and self._sender.is_cancelled()
