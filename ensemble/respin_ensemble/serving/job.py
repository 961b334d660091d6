"""One request at work in the engine: where its events become responses."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping

import triton_python_backend_utils as pb_utils

from respin.contracts import ROTATE_OBJECT_STREAM
from respin.errors import Cancelled, RespinError
from respin_ensemble.events import Event
from respin_ensemble.serving.replies import FINAL, error_response, status_from_error, tensors


class Job:
    """A request's way back to its caller.

    The last event is held back until the job ends, so that the final response carries data: callers within the server
    cannot take an empty one (Triton 2.51).
    """

    def __init__(
        self,
        request: pb_utils.InferenceRequest,
        sender: pb_utils.InferenceResponseSender,
        parameters: Mapping[str, str],
    ) -> None:
        """A job that answers through `sender`."""
        self.name = parameters.get("job") or uuid.uuid4().hex
        self._sender = sender
        self._wanted = set(request.requested_output_names())
        self._in_band = "in_band" in parameters
        self._cancelled = threading.Event()
        self._sending = threading.Lock()
        self._last: Event | None = None

    def cancel(self) -> None:
        """Have the job stop at its next report."""
        self._cancelled.set()

    def report(self, event: Event) -> None:
        """Send an event to the caller.

        Raises:
            Cancelled: nobody waits any more.
        """
        if self._cancelled.is_set() or self._sender.is_cancelled():
            raise Cancelled(f"cancelled during {event.stage}")
        if event.stage == "done":
            self._last = event
        else:
            self._send(event, flags=0)

    def end(self) -> None:
        """Send the last event, and with it the end of the stream."""
        self._send(self._last or Event("done"), FINAL)

    def fail(self, error: RespinError) -> None:
        """Send an error, and with it the end of the stream."""
        response = error_response(error)
        if self._in_band:
            response = pb_utils.InferenceResponse(tensors(ROTATE_OBJECT_STREAM, {"status": status_from_error(error)}))
        with self._sending:
            self._sender.send(response, FINAL)

    def _send(self, event: Event, flags: int) -> None:
        made = {name: make() for name, make in event.made.items() if name in self._wanted}
        progress = {"stage": event.stage, "view": event.view, "step": event.step, "steps": event.steps}
        values = {**{name: value for name, value in progress.items() if name in self._wanted}, **made}
        if not values:
            # The caller asked for none of this; only the end must carry something.
            if not flags:
                return
            values = {"stage": event.stage}
        with self._sending:
            self._sender.send(pb_utils.InferenceResponse(tensors(ROTATE_OBJECT_STREAM, values)), flags)
