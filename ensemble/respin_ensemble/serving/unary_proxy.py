"""Unary models in front of the engine, for clients that send one request and wait for one response."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import triton_python_backend_utils as pb_utils

from respin.contracts import JOBS
from respin.errors import Busy
from respin.request import RotationRequest
from respin_ensemble.serving.cancellation_poller import CancellationPoller
from respin_ensemble.serving.engine_call import EngineCall, forget_calls
from respin_ensemble.serving.processes import close_inherited_sockets
from respin_ensemble.serving.replies import (
    error_for_caller,
    error_response,
    read_inputs,
    read_parameters,
    read_timeout_us,
    tensors,
)
from respin_ensemble.serving.response_sender import ResponseSender
from respin_ensemble.serving.tensor_guard import guard_tensors

MAX_CALLS = 28
"""Limit on concurrent requests of one proxy. Each occupies one of the 32 threads in which Triton 2.51 makes a process's
calls; messages that cancel a job, or ask whether it is running, need a free one."""


class UnaryProxy:
    """Serves the job that its folder in the model repository is named after."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Find the job's contract."""
        guard_tensors()
        close_inherited_sockets()
        self._spec = JOBS[args["model_name"]]
        self._executor = ThreadPoolExecutor(MAX_CALLS, thread_name_prefix="proxy")
        self._calls: set[EngineCall] = set()
        self._poller = CancellationPoller("poll callers", self._polls)

    def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> None:
        """Accept requests and return at once; responses follow through their response senders."""
        for request in requests:
            sender = ResponseSender(request.get_response_sender())
            try:
                self._accept(request, sender)
            except Exception as error:  # a failure for one caller must not fail the requests beside it
                sender.send_final(error_response(error_for_caller(error)))

    def finalize(self) -> None:
        """Wait for the requests in progress."""
        self._executor.shutdown()
        self._poller.close()
        forget_calls()

    def _polls(self) -> list[Callable[[], None]]:
        calls = self._calls.copy()
        return [partial(EngineCall.poll, calls)] if calls else []

    def _accept(self, request: pb_utils.InferenceRequest, sender: ResponseSender) -> None:
        read_parameters(request, self._spec)
        if len(self._calls) >= MAX_CALLS:
            raise Busy(f"{self._spec.name} has {MAX_CALLS} requests in progress, its limit. Retry in 1.0 s")
        arrays = read_inputs(request, RotationRequest.check_shapes)
        wanted = tuple(request.requested_output_names())
        call = EngineCall(arrays, (*wanted, "view"), read_timeout_us(request), is_cancelled=sender.is_cancelled)
        self._calls.add(call)
        self._poller.wake()
        self._executor.submit(self._answer, sender, call, wanted)

    def _answer(self, sender: ResponseSender, call: EngineCall, wanted: tuple[str, ...]) -> None:
        try:
            outputs = call.run()
            response = pb_utils.InferenceResponse(
                tensors(self._spec, {name: outputs[name] for name in wanted if name in outputs})
            )
        except Exception as error:  # a bug becomes a logged reference for the caller, and the proxy keeps serving
            response = error_response(error_for_caller(error))
        finally:
            self._calls.discard(call)
        sender.send_final(response)
