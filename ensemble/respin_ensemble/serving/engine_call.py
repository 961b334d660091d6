"""Call the engine from another process of the same server.

Triton 2.51 has several traps that this module works around:

* An error that follows data is lost on BLS, so errors arrive as the output `status`.
* BLS cannot cancel a request, so cancelling is a message of its own.
* If the engine's process dies, the iterator of its responses blocks forever. It is read in a thread of its own, and the
  engine is asked from time to time whether it still knows the job. A stopped process (SIGSTOP) is not asked: when it
  goes on, its answer to a call that Triton has given up by then crashes the server.
* Responses that arrive while their iterator is being created can be lost, so a job answers with a single one.
* An iterator whose last reference is Triton's own is destroyed by a thread that does not hold the GIL, which corrupts
  memory. This module keeps a reference until Triton has released its own.
"""

from __future__ import annotations

import gc
import math
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
import triton_python_backend_utils as pb_utils

from respin.contracts import ROTATE_OBJECT_STREAM
from respin.errors import Busy, Cancelled, InternalError, InvalidInput, RespinError
from respin.outage import is_outage
from respin.specs import Array
from respin_ensemble.serving.internal_parameters import ALIVE, CANCEL, IN_BAND, JOB, SEPARATOR
from respin_ensemble.serving.processes import State, model_state
from respin_ensemble.serving.replies import error_from_status

ALIVE_TIMEOUT_S = 1.0
"""How long the engine may be silent before it is asked whether it still knows the job, seconds."""

CANCEL_AGAIN_S = 1.0
"""Time after which a job that goes on is cancelled again, seconds: the message may have overtaken the job."""

TRANSIT_TIMEOUT_S = 10.0
"""How long a response of up to 128 MiB may take from a living engine to here, on a busy machine, seconds."""

RUNNING, UNKNOWN, FAILED = b"running", b"unknown", b""
"""The engine's answers to a message about a job, as its output `stage`; the last one stands for a call that failed."""

Outputs = Mapping[str, Array]

KEEP_S = 2.0
"""How long a finished iterator is kept, seconds; Triton releases it within milliseconds."""

_RELEASED_S = 0.1
"""Time after which Triton has released even the last one, when the process is about to end, seconds."""

_LOCK = threading.Lock()
_KEPT: deque[tuple[float, object]] = deque()


class EngineCall:
    """One job in the engine.

    Args:
        arrays: inputs of the request by name.
        outputs: outputs of the engine to request.
        timeout_us: timeout of the caller's request, microseconds; 0 = none.
        is_cancelled: returns whether the caller cancelled or disconnected.
    """

    def __init__(
        self, arrays: Mapping[str, Array], outputs: tuple[str, ...], timeout_us: int, is_cancelled: Callable[[], bool]
    ) -> None:
        self._job = uuid.uuid4().hex
        self._is_cancelled = is_cancelled
        self._cancelled_s = -math.inf
        self._request = pb_utils.InferenceRequest(
            model_name=ROTATE_OBJECT_STREAM.name,
            requested_output_names=[*outputs, "status"],
            inputs=[pb_utils.Tensor(name, array) for name, array in arrays.items()],
            parameters={JOB: self._job, IN_BAND: "1"},
            timeout=timeout_us,
        )
        self._received: queue.SimpleQueue[Outputs | RespinError] = queue.SimpleQueue()

    @staticmethod
    def poll(calls: Collection[EngineCall]) -> None:
        """Cancel the jobs whose callers have disconnected; called periodically.

        All in one message: each message takes its turn in a busy engine, and many at once would fill the proxy.
        """
        now_s = time.monotonic()
        left = [call for call in calls if now_s - call._cancelled_s > CANCEL_AGAIN_S and call._is_cancelled()]
        if left and _engine_state() != "stopped":
            for call in left:
                call._cancelled_s = now_s
            _send_message({CANCEL: SEPARATOR.join(call._job for call in left)})

    def run(self) -> Outputs:
        """Run the job and return its outputs.

        Raises:
            Busy: the engine's process died or is stopped; the same request may be sent again.
            Cancelled: the caller has gone before the engine was asked.
            RespinError: the job failed in the engine.
        """
        if _engine_state() == "stopped":
            raise Busy("the engine was stopped by a signal and may go on; send the request again in a few seconds")
        if self._is_cancelled():
            raise Cancelled("the caller cancelled or disconnected; the job was not begun")
        threading.Thread(target=self._read, name="engine responses", daemon=True).start()
        while not (outputs := self._wait()):
            pass
        if isinstance(outputs, RespinError):
            raise outputs
        return outputs

    def _wait(self) -> Outputs | RespinError:
        """Wait for the outputs; they are empty if the engine has not answered yet but is still running the job."""
        try:
            return self._received.get(timeout=ALIVE_TIMEOUT_S)
        except queue.Empty:
            state = _engine_state()
            # A call that fails is one to an engine too busy, or stopped just now: it may still be at work.
            if state == "stopped" or (state == "running" and _send_message({ALIVE: self._job}) != UNKNOWN):
                return {}
        try:
            # The job may have ended between the timeout and the message, with its response still in transit.
            return self._received.get(timeout=ALIVE_TIMEOUT_S if state == "dead" else TRANSIT_TIMEOUT_S)
        except queue.Empty:
            return Busy("the engine was restarted while it worked on this request; send it again")

    def _read(self) -> None:
        try:
            for response in _responses(self._request):
                self._received.put(_outputs_from_response(response))
        except Exception as error:  # an error in this thread must reach the thread that waits
            self._received.put(_internal_error("the engine cannot be called", error))


def _responses(request: pb_utils.InferenceRequest) -> Iterator[pb_utils.InferenceResponse]:
    """Make a decoupled call and yield its responses."""
    # This blocks until the first response: no lock may be held.
    responses = request.exec(decoupled=True)
    try:
        yield from responses
    finally:
        with _LOCK:
            now_s = time.monotonic()
            _KEPT.append((now_s, responses))
            while now_s - _KEPT[0][0] > KEEP_S:
                _KEPT.popleft()


def forget_calls() -> None:
    """Forget the finished calls, before the process ends: after it has lost its shared memory, that would crash it."""
    if _KEPT:
        time.sleep(_RELEASED_S)
    _KEPT.clear()
    # Also what an error holds in its frames.
    gc.collect()


def _outputs_from_response(response: pb_utils.InferenceResponse) -> Outputs | RespinError:
    if response.has_error():
        # An error of Triton's own: those of the engine arrive as `status`.
        error = response.error()
        if is_outage(error.message()):
            return Busy(
                "the engine is being loaded again, or the server stops; send the request again in a few seconds"
            )
        if error.code() == pb_utils.TritonError.INVALID_ARG:
            return InvalidInput(error.message())
        return _internal_error("the engine failed", RuntimeError(error.message()))
    outputs = {tensor.name(): tensor.as_numpy().copy() for tensor in response.output_tensors()}
    return error_from_status(outputs["status"]) if "status" in outputs else outputs


def _internal_error(what: str, cause: Exception) -> InternalError:
    error = InternalError(f"{what}: {cause}")
    error.__cause__ = cause
    return error


def _send_message(parameters: dict[str, str]) -> bytes:
    """Send a message about a job and return the engine's answer; `FAILED` if the call fails."""
    request = pb_utils.InferenceRequest(
        model_name=ROTATE_OBJECT_STREAM.name,
        requested_output_names=["stage"],
        # Triton requires the required inputs; the engine ignores them.
        inputs=[
            pb_utils.Tensor(spec.name, np.array([b""], np.object_))
            for spec in ROTATE_OBJECT_STREAM.inputs
            if not spec.optional
        ],
        parameters=parameters,
    )
    answers = [FAILED if each.has_error() else each.output_tensors()[0].as_numpy()[0] for each in _responses(request)]
    return bytes(answers[0])


def _engine_state() -> State:
    return model_state(ROTATE_OBJECT_STREAM.name)
