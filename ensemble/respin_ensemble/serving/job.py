"""One request at work in the engine: where its events become responses."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping

import triton_python_backend_utils as pb_utils

from respin.contracts import ROTATE_OBJECT_STREAM
from respin.errors import Cancelled, RespinError
from respin.specs import Array
from respin_ensemble.pipeline.events import Event
from respin_ensemble.serving.caller import Caller
from respin_ensemble.serving.pacing import ProgressPacing
from respin_ensemble.serving.replies import error_response, status_from_error, tensors
from respin_ensemble.serving.whole import Whole


class Job:
    """A request's way back to its caller.

    The last event is held back until the job ends, so that the final response carries data: callers within the server
    cannot take an empty one (Triton 2.51).
    """

    def __init__(
        self,
        request: pb_utils.InferenceRequest,
        caller: Caller,
        parameters: Mapping[str, str],
    ) -> None:
        """A job that answers to `caller`."""
        self.name = parameters.get("job") or uuid.uuid4().hex
        self.deadline_s: float | None = (request.timeout() or 0) / 1e6 or None
        """Seconds that the caller gave it, by Triton's own request parameter `timeout`; None = any number."""
        self.stopped_by: str | None = None
        """Why it was stopped early, for the metrics."""
        self._came_s = time.monotonic()
        self._caller = caller
        self._wanted = set(request.requested_output_names())
        # A caller within the server gets one response: several that follow closely corrupt his memory (Triton 2.51).
        self._whole = Whole(self._wanted) if "in_band" in parameters else None
        self._stop: Cancelled | None = None
        self._pacing = ProgressPacing()
        self._last: Event | None = None

    def look(self) -> None:
        """Notice that the caller has gone, or that the deadline has passed; called again and again."""
        if self._stop is None:
            if self._caller.is_gone():
                self.stop("caller", "the caller cancelled or went away")
            elif self.deadline_s is not None and time.monotonic() - self._came_s > self.deadline_s:
                self.stop("deadline", f"the deadline of {self.deadline_s:g} s passed")

    def stop(self, cause: str, reason: str) -> None:
        """Have the job stop, at its next step or report; the first reason stands."""
        if self._stop is None:
            self.stopped_by = cause
            self._stop = Cancelled(f"{reason}; the work was stopped")

    def is_stopped(self) -> bool:
        """Whether the job is to stop."""
        return self._stop is not None

    def still_wanted(self) -> None:
        """Let a job that is to stop do nothing more.

        Raises:
            Cancelled: it is to stop.
        """
        if self._stop is not None:
            raise Cancelled(str(self._stop))

    def report(self, event: Event) -> None:
        """Send an event to the caller, unless it tells but of progress and the caller heard of that just now.

        Raises:
            Cancelled: nobody waits any more.
        """
        self.still_wanted()
        if self._whole is not None:
            self._whole.add(event)
        elif event.stage == "done":
            self._last = event
        elif self._wanted & event.made.keys() or self._pacing.allows(event.stage):
            values = self._values(event)
            # A caller who asked for none of this hears nothing.
            if values:
                self._caller.send(pb_utils.InferenceResponse(tensors(ROTATE_OBJECT_STREAM, values)))

    def end(self) -> None:
        """Send the last event, and with it the end of the stream; it carries something whatever was asked for."""
        told = self._values(self._last or Event("done")) or {"stage": "done"}
        values = self._whole.values() if self._whole is not None else told
        self._caller.send_last(pb_utils.InferenceResponse(tensors(ROTATE_OBJECT_STREAM, values)))

    def fail(self, error: RespinError) -> None:
        """Send an error, and with it the end of the stream."""
        response = error_response(error)
        if self._whole is not None:
            response = pb_utils.InferenceResponse(tensors(ROTATE_OBJECT_STREAM, {"status": status_from_error(error)}))
        self._caller.send_last(response)

    def _values(self, event: Event) -> dict[str, Array | bytes | str | float]:
        """What the caller wants to know of an event; pictures are encoded here."""
        progress = {"stage": event.stage, "view": event.view, "step": event.step, "steps": event.steps}
        told = {name: value for name, value in progress.items() if name in self._wanted}
        return {**told, **{name: make() for name, make in event.made.items() if name in self._wanted}}
