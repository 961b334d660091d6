"""Conversions between Triton's requests and responses and our values and errors."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Mapping

import numpy as np
import triton_python_backend_utils as pb_utils

from respin.errors import BY_GRPC_CODE, InternalError, InvalidInput, RespinError, stream_text_from_error
from respin.options import shorten
from respin.specs import Array, ModelSpec
from respin_ensemble.serving.internal_parameters import ENABLE_EMPTY_FINAL_RESPONSE, INTERNAL_PARAMETERS
from respin_ensemble.serving.tensor_guard import is_refused

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL

# Names, not values: the stub adds its classes to pb_utils only after this module is imported.
_CODES = {
    "INVALID_ARGUMENT": "INVALID_ARG",
    "NOT_FOUND": "NOT_FOUND",
    "UNAVAILABLE": "UNAVAILABLE",
    "CANCELLED": "CANCELLED",
    # A caller that calls a network directly is responsible for its inputs.
    "FAILED_PRECONDITION": "INVALID_ARG",
}

_log = logging.getLogger(__name__)


def error_for_caller(error: Exception) -> RespinError:
    """Return the error that the caller receives.

    Errors of our own classes are written for the caller, except for an `InternalError` with a cause: it quotes the
    cause after a colon, whose words may hold paths or names of this machine. Anything else is a bug. Both are logged
    under a reference, which the caller receives.

    The error that was given loses its frames: they hold the request, its photo and its shared memory. One of them keeps
    the error in a variable, and such a cycle lasts until Python collects garbage, hundreds of requests later.
    """
    said = _error_for_caller(error)
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return said


def _error_for_caller(error: Exception) -> RespinError:
    if isinstance(error, RespinError) and not isinstance(error, InternalError):
        return error
    reference = uuid.uuid4().hex[:8]
    _log.error("job failed, reference %s", reference, exc_info=error)
    said = str(error).partition(":")[0] if error.__cause__ else str(error)
    if not isinstance(error, InternalError) or re.search(r"[/\n]", said):
        said = "the server failed at this job"
    elif not error.__cause__:
        return error
    return InternalError(f"{said}; the server's log has the details under reference {reference}")


def error_response(error: RespinError, *, streamed: bool = False) -> pb_utils.InferenceResponse:
    """Convert an error to a Triton response with the gRPC status of its class.

    Args:
        error: the error.
        streamed: the caller reads a stream, which drops the status: the text begins with it.
    """
    code = getattr(pb_utils.TritonError, _CODES.get(error.grpc_code, "INTERNAL"))
    text = stream_text_from_error(error) if streamed else str(error)
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(text, code))


def status_from_error(error: RespinError) -> Array:
    """Convert an error to a value of the output `status`.

    Callers within the server need it there: an error that follows data is lost on BLS, or hangs it (Triton 2.51).
    """
    return np.array([json.dumps({"code": error.grpc_code, "message": str(error)}).encode()], np.object_)


def error_from_status(status: Array) -> RespinError:
    """Convert a value of the output `status` to an error: the inverse of `status_from_error`."""
    fields = json.loads(bytes(status[0]))
    return BY_GRPC_CODE[fields["code"]](fields["message"])


def read_inputs(request: pb_utils.InferenceRequest, check: Callable[[Mapping[str, Array]], None]) -> dict[str, Array]:
    """Return copies of all inputs of a request: Triton reuses the memory once `execute` returns.

    Args:
        request: the request.
        check: raises if the names and shapes of the inputs are not those of the contract; nothing is copied then.

    Raises:
        InvalidInput: an input's shape does not fit into memory.
        RespinError: as `check`.
    """
    arrays = {}
    for tensor in request.inputs():
        array = arrays[tensor.name()] = tensor.as_numpy()
        if is_refused(array):
            raise InvalidInput(
                f"{tensor.name()} has shape {tensor.shape()}, which no memory holds; send its data's shape"
            )
    check(arrays)
    return {name: array.copy() for name, array in arrays.items()}


def read_parameters(request: pb_utils.InferenceRequest, spec: ModelSpec) -> dict[str, str]:
    """Return the parameters of a request that come from Triton itself, or from another model of the server.

    Raises:
        InvalidInput: the caller sent a parameter; a typing error must not go unnoticed.
    """
    parameters: dict[str, str] = json.loads(request.parameters() or "{}")
    if unknown := sorted(set(parameters) - INTERNAL_PARAMETERS - {ENABLE_EMPTY_FINAL_RESPONSE}):
        raise InvalidInput(
            f"{spec.name}: unknown parameter {shorten(unknown[0])!r}; options are input tensors: "
            f"{', '.join(tensor.name for tensor in spec.inputs)}"
        )
    return parameters


def read_timeout_us(request: pb_utils.InferenceRequest) -> int:
    """Return the timeout of a request, microseconds; 0 = none.

    Raises:
        InvalidInput: it is negative.
    """
    # The frontends read a signed number, and Triton stores it without its sign.
    timeout_us = request.timeout() or 0
    if timeout_us >= 2**63:
        raise InvalidInput(f"timeout is {timeout_us - 2**64} microseconds; send a number above 0, or none")
    return timeout_us


def tensors(spec: ModelSpec, values: Mapping[str, Array | bytes | str | float]) -> list[pb_utils.Tensor]:
    """Convert results to the output tensors of a contract.

    Args:
        spec: contract of the job.
        values: results by output name; a single value becomes a tensor of one element.
    """
    dtypes = {output.name: output.dtype.numpy for output in spec.outputs}
    made = []
    for name, value in values.items():
        single = value.encode() if isinstance(value, str) else value
        made.append(pb_utils.Tensor(name, np.atleast_1d(np.asarray(single, dtypes[name]))))
    return made
