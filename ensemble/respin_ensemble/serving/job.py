"""One request in the engine: its cancellation, and the conversion of its events to responses."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping

import triton_python_backend_utils as pb_utils

from respin.contracts import ROTATE_OBJECT_STREAM
from respin.errors import Busy, Cancelled, RespinError
from respin.specs import Array
from respin_ensemble.pipeline.cancellation import Cancellation
from respin_ensemble.pipeline.events import JobEvent
from respin_ensemble.serving.internal_parameters import IN_BAND, JOB
from respin_ensemble.serving.progress_throttle import ProgressThrottle
from respin_ensemble.serving.replies import error_response, read_timeout_us, status_from_error, tensors
from respin_ensemble.serving.response_aggregator import ResponseAggregator
from respin_ensemble.serving.response_sender import ResponseSender


class Job:
    """A request in progress.

    The last event is held back until the job ends, so that the final response carries data: callers within the server
    cannot receive an empty one (Triton 2.51).

    Args:
        request: the request.
        sender: the way back to the caller.
        parameters: parameters of the request, as `respin_ensemble.serving.engine_call` sends them.

    Attributes:
        name: name by which messages refer to the job.
        deadline_s: seconds from the request to its deadline, from Triton's request parameter `timeout`; None = none.
        cancellation: stops the job.
        cancelled_by: who or what cancelled the job, for the metrics; None if it was not cancelled.
        wanted: outputs that the caller asked for.

    Raises:
        InvalidInput: the request's timeout is negative.
    """

    def __init__(
        self,
        request: pb_utils.InferenceRequest,
        sender: ResponseSender,
        parameters: Mapping[str, str],
    ) -> None:
        self.name = parameters.get(JOB) or uuid.uuid4().hex
        self.deadline_s: float | None = read_timeout_us(request) / 1e6 or None
        self.cancellation = Cancellation()
        self.cancelled_by: str | None = None
        self._when_cancelled: Callable[[], None] | None = None
        self._ended = False
        self._lock = threading.Lock()
        self._arrived_s = time.monotonic()
        self._sender = sender
        self.wanted = set(request.requested_output_names())
        # Callers within the server get one response: several in quick succession corrupt their memory (Triton 2.51).
        self._aggregator = ResponseAggregator(self.wanted) if IN_BAND in parameters else None
        self._throttle = ProgressThrottle()
        self._last: JobEvent | None = None

    @property
    def is_collected(self) -> bool:
        """Whether all results travel in one response."""
        return self._aggregator is not None

    def call_when_cancelled(self, when_cancelled: Callable[[], None]) -> None:
        """Set the function that is called once the job is cancelled; at once if it was already."""
        with self._lock:
            self._when_cancelled = None if self._ended else when_cancelled
            cancelled = self.cancelled_by is not None
        if cancelled:
            when_cancelled()

    def end(self) -> None:
        """Forget that function, which refers to the job: the cycle would keep photo, results and sender in memory."""
        with self._lock:
            self._ended = True
            self._when_cancelled = None

    def poll(self) -> None:
        """Cancel the job if its caller has disconnected or its deadline has passed; called periodically."""
        if self.cancellation.requested:
            return
        if self._sender.is_cancelled():
            self.cancel("caller", "the caller cancelled or disconnected")
        elif self.deadline_s is not None and time.monotonic() - self._arrived_s > self.deadline_s:
            self.cancel("deadline", f"the deadline of {self.deadline_s:g} s passed")

    def cancel(self, cause: str, reason: str) -> None:
        """Cancel the job; the first cause is kept.

        Args:
            cause: "caller", "deadline" or "server", for the metrics.
            reason: for the error message.
        """
        with self._lock:
            if self.cancelled_by is not None:
                return
            self.cancelled_by = cause
            self.cancellation.cancel(f"{reason}; the job was stopped")
            when_cancelled = self._when_cancelled
        if when_cancelled is not None:
            when_cancelled()

    def report(self, event: JobEvent) -> None:
        """Send an event to the caller, unless it is a step that the throttle drops, or the job is cancelled."""
        if self.cancellation.requested:
            return
        if self._aggregator is not None:
            self._aggregator.add(event)
        elif event.stage == "done":
            self._last = event
        elif not event.is_superseded or self._throttle.allow(event.stage):
            values = self._values(event)
            # A caller that asked for none of these outputs receives nothing.
            if values:
                self._sender.send(pb_utils.InferenceResponse(tensors(ROTATE_OBJECT_STREAM, values)))

    def finish(self) -> None:
        """Send the last event as the final response; it carries data whatever outputs were asked for."""
        values = self._values(self._last or JobEvent("done")) or {"stage": "done"}
        if self._aggregator is not None:
            values = self._aggregator.values()
        self._sender.send_final(pb_utils.InferenceResponse(tensors(ROTATE_OBJECT_STREAM, values)))

    def fail(self, error: RespinError) -> None:
        """Send an error as the final response."""
        if self.cancelled_by == "server" and isinstance(error, Cancelled):
            error = Busy(f"{error}; send the request again")  # the caller did not ask for it
        if self._aggregator is None:
            response = error_response(error, streamed=True)
        else:
            response = pb_utils.InferenceResponse(tensors(ROTATE_OBJECT_STREAM, {"status": status_from_error(error)}))
        self._sender.send_final(response)

    def fail_cancelled(self) -> str:
        """Send the reason of the cancellation as the final response, and return its status."""
        error = Cancelled(self.cancellation.reason or "the job was stopped")
        self.fail(error)
        return error.grpc_code

    def _values(self, event: JobEvent) -> dict[str, Array | bytes | str | float]:
        """Return the outputs of an event that the caller asked for; images are encoded in this call."""
        progress = {"stage": event.stage, "view": event.view, "step": event.step, "steps": event.steps}
        values = {name: value for name, value in progress.items() if name in self.wanted}
        return {**values, **{name: make() for name, make in event.results.items() if name in self.wanted}}
