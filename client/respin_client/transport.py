"""The transport of calls: a small protocol, and its implementation over gRPC.

The stubs are those that tritonclient ships. Used directly they give true iterators, cancellation, and several streams
at once on one channel.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from respin.errors import InvalidInput, RespinError, code_from_stream_text
from respin.limits import MAX_MESSAGE_BYTES
from respin.specs import Array
from respin_client.address import check_headers, check_url
from respin_client.listener import Encryption
from respin_client.status import error_from_status
from respin_client.wire import Interface, arrays_from_message, message_from_arrays

# Triton's default tolerates a ping in 300 s on a silent connection, and hangs up on a client that sends more.
_KEEPALIVE_MS = 310_000

# A server that restarts is back within seconds; gRPC would wait up to two minutes before it connects again.
_RECONNECT_MS = (200, 2_000)


_CHANNEL_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS[0]),
    ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS[1]),
    # gRPC's own retries know nothing of Triton's errors, and end before a server has restarted.
    ("grpc.enable_retries", 0),
]


class Transport(Protocol):
    """A connection of the client. Its methods raise `RespinError`; every call has a deadline in seconds."""

    def infer(
        self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str], timeout_s: float
    ) -> Mapping[str, Array]:
        """Call a model that sends one response."""
        ...

    def stream(
        self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str], timeout_s: float
    ) -> Generator[Mapping[str, Array], None, None]:
        """Call a model that sends many responses; closing the generator cancels the call on the server."""
        ...

    def metadata(self, model: str, timeout_s: float) -> Interface:
        """Return the tensors of a model as the server describes them."""
        ...

    def ready(self, model: str, timeout_s: float) -> bool:
        """Return whether a model takes requests now; False if no server answers."""
        ...

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        ...


@dataclass(frozen=True)
class TLS:
    """The certificates of an encrypted connection.

        TLS()                                          # the authorities that gRPC comes with
        TLS(Path("authority.pem"))                     # that authority alone
        TLS(certificate=Path("me.pem"), key=Path("me.key"))  # and show a certificate of our own

    Args:
        root: PEM file of the authorities to trust; None = those that gRPC comes with.
        certificate: PEM file of the client's certificate chain; None = the client has none.
        key: PEM file of the certificate's private key.

    Raises:
        InvalidInput: certificate without key, or key without certificate.
    """

    root: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        """Check that certificate and key come together."""
        if (self.certificate is None) != (self.key is None):
            given = "certificate" if self.key is None else "key"
            raise InvalidInput(f"TLS has a {given} only; give both certificate and key, or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of a gRPC channel.

        Raises:
            InvalidInput: a file cannot be read.
        """
        return grpc.ssl_channel_credentials(_content(self.root), _content(self.key), _content(self.certificate))


def _content(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read '{path}' ({error.strerror}); give the PEM file for TLS") from None


class GrpcTransport:
    """Triton's gRPC service over one channel, which may serve several threads at once.

    Args:
        url: host:port of the server's gRPC port.
        tls: None = no encryption.
        headers: sent with every call, e.g. {"authorization": "Bearer ..."}.

    Raises:
        InvalidInput: an argument is not allowed.
    """

    def __init__(self, url: str, *, tls: TLS | None = None, headers: Mapping[str, str] | None = None) -> None:
        self._url = check_url(url)
        self._headers = check_headers(headers or {})
        self._encryption: Encryption = "none" if tls is None else "mutual TLS" if tls.certificate else "TLS"
        self._channel = (
            grpc.insecure_channel(url, _CHANNEL_OPTIONS)
            if tls is None
            else grpc.secure_channel(url, tls.credentials(), _CHANNEL_OPTIONS)
        )
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def infer(
        self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str], timeout_s: float
    ) -> Mapping[str, Array]:
        """Call a model that sends one response."""
        message = message_from_arrays(model, inputs, outputs, timeout_s)
        with self._errors_in_words(timeout_s):
            answer = self._stub.ModelInfer(message, timeout=timeout_s, metadata=self._headers)
        return arrays_from_message(answer)

    def stream(
        self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str], timeout_s: float
    ) -> Generator[Mapping[str, Array], None, None]:
        """Call a model that sends many responses; the call begins with the first `next`."""
        message = message_from_arrays(model, inputs, outputs, timeout_s)
        # One request only: the server ends the stream after the last response to it. Without the header
        # triton_grpc_error, for which Triton 2.51 crashes when a request fails.
        call = self._stub.ModelStreamInfer(iter([message]), timeout=timeout_s, metadata=self._headers)
        failure: RespinError | None = None
        try:
            with self._errors_in_words(timeout_s):
                for answer in call:
                    if answer.error_message:
                        failure = self._error(*code_from_stream_text(answer.error_message), timeout_s)
                    elif answer.infer_response.outputs:
                        yield arrays_from_message(answer.infer_response)
        except RespinError as error:
            failure = failure or error
        finally:
            call.cancel()
        # Only now: tritonserver 2.51 keeps the request of a call for good that is cancelled while it ends.
        if failure is not None:
            raise failure

    def metadata(self, model: str, timeout_s: float) -> Interface:
        """Return the tensors of a model as the server describes them."""
        message = service_pb2.ModelMetadataRequest(name=model)
        with self._errors_in_words(timeout_s):
            return Interface.of_metadata(self._stub.ModelMetadata(message, timeout=timeout_s, metadata=self._headers))

    def ready(self, model: str, timeout_s: float) -> bool:
        """Return whether a model takes requests now; False if no server answers."""
        message = service_pb2.ModelReadyRequest(name=model)
        try:
            return bool(self._stub.ModelReady(message, timeout=timeout_s, metadata=self._headers).ready)
        except grpc.RpcError:
            return False

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        self._channel.close()

    @contextmanager
    def _errors_in_words(self, timeout_s: float) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise self._error(error.code().name, error.details() or "", timeout_s) from error

    def _error(self, code: str, details: str, timeout_s: float) -> RespinError:
        return error_from_status(code, details, url=self._url, timeout_s=timeout_s, encryption=self._encryption)
