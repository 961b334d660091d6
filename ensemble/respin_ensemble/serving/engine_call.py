"""A job in the engine, as another process of the same server sees it.

Traps of Triton 2.51 shape it. An error that follows data is lost on BLS, so errors arrive as the output `status`. BLS
cannot cancel, so that is a message. When the engine's process dies, the iterator of its answers blocks for ever: it is
read by a thread of its own, and the engine is asked now and then whether it still knows the job. Responses that come
while their iterator is still being made can be lost, so a job answers with one.
And an iterator whose last reference is Triton's own is destroyed by a thread that does not hold the interpreter's lock,
which corrupts the process's memory: each is kept here until Triton has let go of it.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import triton_python_backend_utils as pb_utils

from respin.contracts import ROTATE_OBJECT_STREAM
from respin.errors import Busy, InternalError, InvalidInput, RespinError
from respin.specs import Array
from respin_ensemble.serving.replies import error_from_status

LOOK_S = 1.0
"""How long the engine may be silent before it is asked whether it still knows the job."""

AT_WORK, UNKNOWN = b"at_work", b"unknown"
"""The engine's two answers, as its `stage`."""

Answer = Mapping[str, Array]

KEPT_S = 2.0
"""How long an iterator is kept once it is at its end; Triton lets go of it within milliseconds."""

_LOCK = threading.Lock()
_KEPT: deque[tuple[float, object]] = deque()


class EngineCall:
    """One job, from `answer` on.

    Args:
        arrays: the request's inputs by name.
        outputs: which of the engine's outputs to ask for.
        timeout_us: that the caller gave the request, microseconds; 0 = any number.
        is_gone: whether the caller has gone.
    """

    def __init__(
        self, arrays: Mapping[str, Array], outputs: tuple[str, ...], timeout_us: int, is_gone: Callable[[], bool]
    ) -> None:
        """Prepare the job; nothing is asked yet."""
        self._job = uuid.uuid4().hex
        self._is_gone = is_gone
        self._told = False
        self._request = pb_utils.InferenceRequest(
            model_name=ROTATE_OBJECT_STREAM.name,
            requested_output_names=[*outputs, "status"],
            inputs=[pb_utils.Tensor(name, array) for name, array in arrays.items()],
            parameters={"job": self._job, "in_band": "1"},
            timeout=timeout_us,
        )
        self._answers: queue.SimpleQueue[Answer | RespinError] = queue.SimpleQueue()

    def look(self) -> None:
        """Tell the engine if the caller has gone: it ends the job in its own words. Called again and again."""
        if not self._told and self._is_gone():
            self._told = True
            _tell_engine({"cancel": self._job})

    def answer(self) -> Answer:
        """Run the job and wait for its outputs.

        Raises:
            Busy: the engine died under the job; the same request may be sent again.
            RespinError: what the engine said.
        """
        threading.Thread(target=self._read, name="engine answers", daemon=True).start()
        while not (answer := self._next()):
            pass
        if isinstance(answer, RespinError):
            raise answer
        return answer

    def _next(self) -> Answer | RespinError:
        """The answer; an empty one where the engine was silent but is at work."""
        try:
            return self._answers.get(timeout=LOOK_S)
        except queue.Empty:
            if _tell_engine({"alive": self._job}) == AT_WORK:
                return {}
        try:
            # It may have ended between the two questions, its last answer still under way.
            return self._answers.get(timeout=LOOK_S)
        except queue.Empty:
            return Busy("the engine was restarted while it worked on this request; send it again")

    def _read(self) -> None:
        try:
            for response in _responses(self._request):
                self._answers.put(_answer_from_response(response))
        except Exception as error:  # a thread's last words must reach the one who waits
            self._answers.put(InternalError(f"the engine cannot be asked ({error})"))


def _responses(request: pb_utils.InferenceRequest) -> Iterator[pb_utils.InferenceResponse]:
    """Make a decoupled call; its responses, which may be waited for beside those of others."""
    # This waits for the first response: no lock may be held.
    responses = request.exec(decoupled=True)
    try:
        yield from responses
    finally:
        with _LOCK:
            now_s = time.monotonic()
            _KEPT.append((now_s, responses))
            while now_s - _KEPT[0][0] > KEPT_S:
                _KEPT.popleft()


def _answer_from_response(response: pb_utils.InferenceResponse) -> Answer | RespinError:
    if response.has_error():
        # Triton's own refusal: nothing of the engine's arrives like this.
        error = response.error()
        refused = error.code() == pb_utils.TritonError.INVALID_ARG
        return (InvalidInput if refused else InternalError)(error.message())
    answer = {tensor.name(): tensor.as_numpy().copy() for tensor in response.output_tensors()}
    return error_from_status(answer["status"]) if "status" in answer else answer


def _tell_engine(parameters: dict[str, str]) -> bytes:
    """Send a message that is no job; the engine's answer, or `UNKNOWN` where none comes."""
    request = pb_utils.InferenceRequest(
        model_name=ROTATE_OBJECT_STREAM.name,
        requested_output_names=["stage"],
        # Triton insists on the required inputs; the engine does not look at them.
        inputs=[
            pb_utils.Tensor(spec.name, np.array([b""], np.object_))
            for spec in ROTATE_OBJECT_STREAM.inputs
            if not spec.optional
        ],
        parameters=parameters,
    )
    answers = [UNKNOWN if each.has_error() else each.output_tensors()[0].as_numpy()[0] for each in _responses(request)]
    return bytes(answers[0])
