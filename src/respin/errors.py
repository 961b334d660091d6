"""The errors of Respin.

    RespinError
    ├── InvalidInput        the request is not valid; the caller can fix it
    ├── ObjectNotFound      the photo does not show what was asked for
    ├── Busy                the server is at a limit; the same call may work later
    ├── Cancelled           the caller went away, cancelled, or its deadline passed
    ├── DeadlineExceeded    the answer did not come in time (raised by the client)
    ├── ContractMismatch    a file, server or network does not match its contract: versions differ
    └── InternalError       a bug in Respin; the server's log has the details

Each message says what was received, what is expected and what to do. Each class has the gRPC status that carries it.
"""

from __future__ import annotations

import re
from typing import ClassVar


class RespinError(Exception):
    """Base class of Respin's errors."""

    grpc_code: ClassVar[str] = "INTERNAL"


class InvalidInput(RespinError):
    """The request is not valid; the message says how to fix it."""

    grpc_code = "INVALID_ARGUMENT"


class ObjectNotFound(RespinError):
    """The photo does not show the object that was asked for."""

    grpc_code = "NOT_FOUND"


class Busy(RespinError):
    """The server cannot take the request now, or cannot be reached; nothing was done."""

    grpc_code = "UNAVAILABLE"


class Cancelled(RespinError):
    """The caller cancelled, went away, or let its deadline pass; the work was stopped."""

    grpc_code = "CANCELLED"


class DeadlineExceeded(RespinError):
    """The answer did not come within the caller's own deadline."""

    grpc_code = "DEADLINE_EXCEEDED"


class ContractMismatch(RespinError):
    """A file, a server or a network does not match its contract in `respin.contracts`."""

    grpc_code = "FAILED_PRECONDITION"


class InternalError(RespinError):
    """A bug in Respin, which the caller can only report."""

    grpc_code = "INTERNAL"


BY_GRPC_CODE: dict[str, type[RespinError]] = {
    error.grpc_code: error
    for error in (
        InvalidInput,
        ObjectNotFound,
        Busy,
        Cancelled,
        DeadlineExceeded,
        ContractMismatch,
        InternalError,
    )
}
"""The error that a client raises for each gRPC status."""

_WITH_CODE = re.compile(rf"({'|'.join(BY_GRPC_CODE)}): (.*)", re.DOTALL)


def stream_text_from_error(error: RespinError) -> str:
    """Return an error as a text with its code, for Triton's streams, whose errors have no status.

    Triton's header `triton_grpc_error` would give them one; Triton 2.51 crashes on it.
    """
    return f"{error.grpc_code}: {error}"


def code_from_stream_text(text: str) -> tuple[str, str]:
    """Return the gRPC code and the sentence of an error on a stream; Triton's own errors have the code INTERNAL."""
    found = _WITH_CODE.fullmatch(text)
    return (found[1], found[2]) if found else ("INTERNAL", text)
