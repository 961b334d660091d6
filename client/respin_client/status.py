"""Convert gRPC statuses to Respin's errors."""

from __future__ import annotations

import re

from respin.errors import (
    BY_GRPC_CODE,
    Busy,
    ContractMismatch,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    RespinError,
)
from respin.outage import is_outage
from respin_client.listener import Encryption, listener_at

_OTHER_CODES: dict[str, type[RespinError]] = {
    "UNIMPLEMENTED": ContractMismatch,
    "PERMISSION_DENIED": InvalidInput,
    "UNAUTHENTICATED": InvalidInput,
}
"""Statuses without an error of Respin, which a server or a proxy may send."""

# gRPC's messages for a broken connection, some of them with UNKNOWN.
_CONNECTION_LOST = (
    "Socket closed",
    "Stream removed",
    "recvmsg",
    "sendmsg",
    "Connection reset",
    "Broken pipe",
    "GOAWAY",
)

# gRPC's messages for an unreachable server: they come with UNAVAILABLE, as a full server's response does.
_NOBODY_THERE = (
    "failed to connect",
    "errors resolving",
    "DNS resolution failed",
    "connections to all backends failing",
)

# gRPC's messages for a server that is there and cannot be talked to in this way, within those of an unreachable one.
_WRONG_WAY = {
    "CERTIFICATE_VERIFY_FAILED": "the certificate of {url} is not trusted ({reason}); "
    "give the PEM file of the authority that signed it (--tls-root, `TLS(root)`)",
    "Hostname Verification Check failed": "the certificate of {url} is for another name; "
    "connect by a name that the certificate has",
    "WRONG_VERSION_NUMBER": "the server at {url} does not speak TLS; connect without TLS, or to its TLS port",
    "Failed to create security handshaker": "the PEM files for TLS cannot be used; "
    "give certificates and key as PEM, a key that belongs to its certificate",
    "Failed parsing HTTP/2": (
        _HTTP_PORT := "{url} is a port for HTTP, of Triton's HTTP API or its metrics; "
        "give the gRPC port (8001 unless the server was given another)"
    ),
}

# A server for TLS ends a connection without it or without the client's certificate; so do ports for HTTP and metrics,
# some of which answer the handshake with text, a proxy without a server, and a server that restarts.
_ENDED = ("Socket closed", "Connection reset", "WRONG_VERSION_NUMBER")

_ENCRYPTION: dict[Encryption, str] = {
    "none": "",
    "TLS": "the server at {url} speaks TLS; give --tls, or --tls-root with the PEM file of the authority that signed "
    "its certificate (`Client(..., tls=TLS(root))`)",
    "mutual TLS": "the server at {url} speaks TLS and wants a certificate of the client that it trusts; give "
    "--tls-certificate with --tls-key, beside --tls-root (`TLS(root, certificate, key)`)",
}
"""What to say of a server that asks for more than the client gives: least first."""

# Triton's messages for a missing model; they come with NOT_FOUND, as ObjectNotFound does.
_NO_SUCH_MODEL = "Request for unknown model"


def error_from_status(
    code: str, details: str, *, url: str, timeout_s: float, encryption: Encryption = "none"
) -> RespinError:
    """Return the error for a call's status.

    Args:
        code: gRPC's name of the status, e.g. "INVALID_ARGUMENT".
        details: the server's sentence, or gRPC's own.
        url: address of the server; if it ended the connection, what listens there is looked up.
        timeout_s: deadline of the call, seconds.
        encryption: how the client connects.
    """
    if code == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(
            f"no answer from {url} within {timeout_s:.3g} s; allow more time, or ask for fewer steps or views"
        )
    if outage := _outage(code, details, url, encryption):
        return outage
    if code == "RESOURCE_EXHAUSTED":
        return InvalidInput(f"{details}; ask for fewer views or outputs in one call")
    if code == "NOT_FOUND" and details.startswith(_NO_SUCH_MODEL):
        return ContractMismatch(f"the server at {url} is no Respin server, or has not loaded it all: {details}")
    kind = BY_GRPC_CODE.get(code) or _OTHER_CODES.get(code, InternalError)
    return kind(details or f"the server at {url} answered {code} without a word")


def _outage(code: str, details: str, url: str, encryption: Encryption) -> RespinError | None:
    """Return the error if the server cannot be reached, or cannot answer now, whatever it says of this request."""
    if code == "UNAVAILABLE" and details.startswith(_NOBODY_THERE):
        return _failed_connection(details.rpartition("last error: ")[2], url, encryption)
    if code in ("UNAVAILABLE", "UNKNOWN") and details.startswith(_CONNECTION_LOST):
        return Busy(
            f"the connection to {url} was lost ({details}); the server may be restarting, send the request again"
        )
    if code != "UNAVAILABLE" and is_outage(details):
        return Busy(f"the server at {url} cannot answer now ({details}); send the request again in a few seconds")
    return None


def _failed_connection(reason: str, url: str, encryption: Encryption) -> RespinError:
    found = listener_at(url) if any(words in reason for words in _ENDED) else None
    if found == "HTTP":
        return InvalidInput(_HTTP_PORT.format(url=url))
    for words, sentence in _WRONG_WAY.items():
        if words in reason:
            verdict = re.search(r"CERTIFICATE_VERIFY_FAILED: ([\w ]+)", reason)
            return InvalidInput(sentence.format(url=url, reason=verdict[1] if verdict else "it does not verify"))
    if not any(words in reason for words in _ENDED):
        return Busy(f"no server answers at {url} ({reason}); start one with `respin serve`")
    levels = list(_ENCRYPTION)
    if found and levels.index(found) > levels.index(encryption):
        return InvalidInput(_ENCRYPTION[found].format(url=url))
    return Busy(
        f"{url} takes connections and ends them ({reason}); give the gRPC port of a server, and a certificate that it "
        "trusts if it wants one; if it restarts, retry"
    )
