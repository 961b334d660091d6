"""The unary fronts: for clients that can only ask and wait. The engine does the work."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import triton_python_backend_utils as pb_utils

from respin.contracts import JOBS, ROTATE_OBJECT_STREAM
from respin.errors import Busy, InternalError, InvalidInput, RespinError
from respin.specs import Array, ModelSpec
from respin_ensemble.serving.replies import (
    FINAL,
    error_for_caller,
    error_from_status,
    error_response,
    read_inputs,
    read_parameters,
    tensors,
)

IN_FLIGHT = 64
"""Requests that a front waits for at once; each holds a thread, which the engine's iterator blocks."""

PER_VIEW = ("image", "novel_view")
"""Outputs of which each camera move gives one."""


class Front:
    """Serves whichever job its folder in the model repository is named after."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Find the job's contract."""
        self._spec = JOBS[args["model_name"]]
        self._waiting = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="front")

    def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> None:
        """Take requests in and return at once, so that any number are under way."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                read_parameters(request, (), self._spec)
            except RespinError as error:
                sender.send(error_response(error), FINAL)
                continue
            wanted = tuple(request.requested_output_names())
            self._waiting.submit(self._answer, sender, read_inputs(request), wanted)

    def finalize(self) -> None:
        """Wait for the requests under way."""
        self._waiting.shutdown()

    def _answer(
        self, sender: pb_utils.InferenceResponseSender, arrays: dict[str, Array], wanted: tuple[str, ...]
    ) -> None:
        try:
            response = pb_utils.InferenceResponse(tensors(self._spec, self._ask_engine(sender, arrays, wanted)))
        except Exception as error:  # a bug becomes a logged reference for the caller, and the front lives on
            response = error_response(error_for_caller(error))
        sender.send(response, FINAL)

    def _ask_engine(
        self, sender: pb_utils.InferenceResponseSender, arrays: dict[str, Array], wanted: tuple[str, ...]
    ) -> dict[str, Array]:
        """Run the job in the engine and gather its stream.

        Raises:
            RespinError: what the engine told.
        """
        job = uuid.uuid4().hex
        request = pb_utils.InferenceRequest(
            model_name=ROTATE_OBJECT_STREAM.name,
            requested_output_names=[*wanted, "stage", "view", "status"],
            inputs=[pb_utils.Tensor(name, array) for name, array in arrays.items()],
            parameters={"job": job, "in_band": "1"},
        )
        gathered = _Gathered(self._spec, wanted)
        told = False
        # The iterator must be read to its end: Triton keeps what is left of an abandoned one.
        for response in request.exec(decoupled=True):
            gathered.add(response)
            if not told and sender.is_cancelled():
                told = True
                _cancel(job, arrays)
        return gathered.outputs()


class _Gathered:
    """The outputs of a stream, put together."""

    def __init__(self, spec: ModelSpec, wanted: tuple[str, ...]) -> None:
        self._wanted = wanted
        self._whole: dict[str, Array] = {}
        self._views: dict[str, dict[int, object]] = {name: {} for name in PER_VIEW if name in wanted}
        self._error: RespinError | None = None

    def add(self, response: pb_utils.InferenceResponse) -> None:
        if response.has_error():
            self._error = _error_from_triton(response.error())
            return
        arrays = {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
        if "status" in arrays:
            self._error = error_from_status(arrays["status"])
            return
        view = max(0, int(arrays["view"][0]))
        for name in set(arrays) & set(self._wanted):
            if name in self._views:
                self._views[name][view] = arrays[name][0]
            else:
                self._whole[name] = arrays[name].copy()

    def outputs(self) -> dict[str, Array]:
        if self._error is not None:
            raise self._error
        per_view = {
            name: np.array([made[view] for view in sorted(made)], np.object_)
            for name, made in self._views.items()
            if made
        }
        return {**self._whole, **per_view}


def _error_from_triton(error: pb_utils.TritonError) -> RespinError:
    """Triton's own refusal, e.g. of a tensor that the contract does not allow, or the engine's before any data."""
    by_code = {pb_utils.TritonError.INVALID_ARG: InvalidInput, pb_utils.TritonError.UNAVAILABLE: Busy}
    return by_code.get(error.code(), InternalError)(error.message())


def _cancel(job: str, arrays: Mapping[str, Array]) -> None:
    """Tell the engine to stop a job. This Triton's BLS has no cancel; Triton insists on the required inputs."""
    required = [spec.name for spec in ROTATE_OBJECT_STREAM.inputs if not spec.optional]
    request = pb_utils.InferenceRequest(
        model_name=ROTATE_OBJECT_STREAM.name,
        requested_output_names=["stage"],
        inputs=[pb_utils.Tensor(name, arrays[name]) for name in required],
        parameters={"cancel": job},
    )
    for _ in request.exec(decoupled=True):
        pass
