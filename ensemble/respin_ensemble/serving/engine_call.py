"""A job in the engine, as another process of the same server sees it.

Three traps of Triton 2.51 shape it. An error that follows data is lost on BLS, so errors arrive as the output `status`.
BLS cannot cancel, so that is a message. And when the engine's process dies, the iterator of its answers blocks for
ever: it is read by a thread of its own, and the engine is asked now and then whether it still knows the job.
"""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import triton_python_backend_utils as pb_utils

from respin.contracts import ROTATE_OBJECT_STREAM
from respin.errors import Busy, InternalError, InvalidInput, RespinError
from respin.specs import Array
from respin_ensemble.serving.replies import error_from_status

LOOK_S = 0.5
"""How long the engine may be silent before it is asked whether it still knows the job."""

AT_WORK, UNKNOWN = b"at_work", b"unknown"
"""The engine's two answers, as its `stage`."""

Answer = Mapping[str, Array]


class EngineCall:
    """One job, from `responses` on.

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
        self._answers: queue.SimpleQueue[Answer | RespinError | None] = queue.SimpleQueue()

    def look(self) -> None:
        """Tell the engine if the caller has gone: it ends the job in its own words. Called again and again."""
        if not self._told and self._is_gone():
            self._told = True
            _tell_engine({"cancel": self._job})

    def responses(self) -> Iterator[Answer]:
        """Run the job and yield its answers as they come.

        Raises:
            Busy: the engine died under the job; the same request may be sent again.
            RespinError: what the engine said.
        """
        threading.Thread(target=self._read, name="engine answers", daemon=True).start()
        while True:
            answer = self._next()
            if answer is None:
                return
            if isinstance(answer, RespinError):
                raise answer
            if answer:
                yield answer

    def _next(self) -> Answer | RespinError | None:
        """The next answer; an empty one where the engine was silent but is at work."""
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
            for response in self._request.exec(decoupled=True):
                self._answers.put(_answer_from_response(response))
        except Exception as error:  # a thread's last words must reach the one who waits
            self._answers.put(InternalError(f"the engine cannot be asked ({error})"))
        self._answers.put(None)


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
    answers = [
        UNKNOWN if each.has_error() else each.output_tensors()[0].as_numpy()[0] for each in request.exec(decoupled=True)
    ]
    return bytes(answers[0])
