"""The way back to a caller, safe to use from several threads."""

from __future__ import annotations

import threading

import triton_python_backend_utils as pb_utils

from respin_ensemble.serving.replies import FINAL


class ResponseSender:
    """A Triton response sender that is never used after the final response.

    Triton frees a request's state with its final response. Asking afterwards whether the request is cancelled, which
    another thread may be about to do, crashes the whole server (Triton 2.51).
    """

    def __init__(self, sender: pb_utils.InferenceResponseSender) -> None:
        self._sender = sender
        self._lock = threading.Lock()
        self._finished = False

    def send(self, response: pb_utils.InferenceResponse) -> None:
        """Send one of several responses; ignored after the final one."""
        with self._lock:
            if not self._finished:
                self._sender.send(response, 0)

    def send_final(self, response: pb_utils.InferenceResponse) -> None:
        """Send the final response; ignored if one was sent before."""
        with self._lock:
            if not self._finished:
                self._finished = True
                self._sender.send(response, FINAL)

    def is_cancelled(self) -> bool:
        """Whether the caller cancelled or disconnected before the final response."""
        with self._lock:
            return not self._finished and self._sender.is_cancelled()
