"""Everything that Respin raises on purpose.

    RespinError
    ├── InvalidInput        the request cannot be carried out as it stands; the caller can fix it
    ├── ObjectNotFound      the photo does not show what was asked for
    ├── Busy                the server is at a limit; the same call may work later
    ├── Cancelled           the caller went away, cancelled, or its deadline passed
    ├── DeadlineExceeded    the answer did not come in time (raised by the client)
    ├── ContractMismatch    two parts disagree about a tensor: they are of different versions
    └── InternalError       our fault; the server's log has the details

Each message is one sentence or two: what was got, what is wanted, what to do. Each class names the gRPC status that
carries it over the wire.
"""

from __future__ import annotations

from typing import ClassVar


class RespinError(Exception):
    """Base of every error that Respin raises on purpose."""

    grpc_code: ClassVar[str] = "INTERNAL"


class InvalidInput(RespinError):
    """The request cannot be carried out as it stands; the message says how to fix it."""

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
    """A file, a server or a network does not keep to the contract of `respin.contracts`."""

    grpc_code = "FAILED_PRECONDITION"


class InternalError(RespinError):
    """Our own fault. The caller can do nothing but report it."""

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
"""gRPC status name -> the error that a client raises for it."""
