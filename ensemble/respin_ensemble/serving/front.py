"""The unary fronts: for clients that can only ask and wait. The engine does the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import triton_python_backend_utils as pb_utils

from respin.contracts import JOBS
from respin.errors import Busy, RespinError
from respin_ensemble.serving.caller import Caller
from respin_ensemble.serving.engine_call import EngineCall
from respin_ensemble.serving.replies import (
    error_for_caller,
    error_response,
    read_inputs,
    read_parameters,
    tensors,
)
from respin_ensemble.serving.watch import Watch

MOST_CALLS = 28
"""Requests under way at one front. Each holds one of the 32 threads in which Triton 2.51 makes the calls of a process;
cancelling, and asking whether the engine lives, must find one free."""


class Front:
    """Serves whichever job its folder in the model repository is named after."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Find the job's contract."""
        self._spec = JOBS[args["model_name"]]
        self._waiting = ThreadPoolExecutor(MOST_CALLS, thread_name_prefix="front")
        self._calls: set[EngineCall] = set()
        self._watch = Watch("callers of a front", lambda: [call.look for call in self._calls.copy()])

    def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> None:
        """Take requests in and return at once, so that any number are under way."""
        for request in requests:
            caller = Caller(request.get_response_sender())
            try:
                read_parameters(request, (), self._spec)
            except RespinError as error:
                caller.send_last(error_response(error))
                continue
            if len(self._calls) >= MOST_CALLS:
                crowd = Busy(f"{MOST_CALLS} requests are under way here already; try again in 1.0 s")
                caller.send_last(error_response(crowd))
                continue
            wanted = tuple(request.requested_output_names())
            call = EngineCall(read_inputs(request), (*wanted, "view"), request.timeout() or 0, is_gone=caller.is_gone)
            self._calls.add(call)
            self._waiting.submit(self._answer, caller, call, wanted)

    def finalize(self) -> None:
        """Wait for the requests under way."""
        self._waiting.shutdown()
        self._watch.close()

    def _answer(self, caller: Caller, call: EngineCall, wanted: tuple[str, ...]) -> None:
        try:
            answer = call.answer()
            outputs = {name: answer[name] for name in wanted if name in answer}
            response = pb_utils.InferenceResponse(tensors(self._spec, outputs))
        except Exception as error:  # a bug becomes a logged reference for the caller, and the front lives on
            response = error_response(error_for_caller(error))
        finally:
            self._calls.discard(call)
        caller.send_last(response)
