"""Whoever waits for an answer, as several threads may speak to him."""

from __future__ import annotations

import threading
import time

import triton_python_backend_utils as pb_utils

from respin_ensemble.serving.replies import FINAL

_LOCK = threading.Lock()
_SENDING: list[threading.Thread] = []


def wait_for_answers(timeout_s: float) -> None:
    """Let answers that are being sent aside get away, before the process ends."""
    until_s = time.monotonic() + timeout_s
    with _LOCK:
        threads = list(_SENDING)
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))


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

    def send_last(self, response: pb_utils.InferenceResponse, *, aside: bool = False) -> None:
        """Send the last response.

        Args:
            response: with an error, or with data.
            aside: in a thread of its own. To a caller within the server, whose process may have died, Triton's `send`
                waits for ever (Triton 2.51): that must hold up neither a worker nor whoever looks for the caller.
        """
        with self._lock:
            if self._answered:
                return
            self._answered = True
        if not aside:
            self._sender.send(response, FINAL)
            return
        thread = threading.Thread(target=self._sender.send, args=(response, FINAL), name="last answer", daemon=True)
        with _LOCK:
            _SENDING[:] = [*(each for each in _SENDING if each.is_alive()), thread]
            thread.start()

    def is_gone(self) -> bool:
        """Whether the caller cancelled or went away before the last response."""
        with self._lock:
            return not self._answered and self._sender.is_cancelled()
