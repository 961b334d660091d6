"""The launcher's own calls to its server: readiness, and reloading a model.

They use HTTP, not gRPC: HTTP has no TLS, so these calls need no certificate. It listens on a Unix socket in a folder of
this user's, where no other program reaches it, unless the operator asks for a port.
"""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from respin.errors import Busy, InternalError
from respin_server.ports import Endpoint

ADMIN_HEADER = "admin-key"
"""HTTP header of the admin key; over gRPC it is `triton-grpc-protocol-admin-key`."""


@dataclass(frozen=True)
class Control:
    """Health and model-repository calls.

    Args:
        endpoint: endpoint of the server's HTTP API, or its Unix socket.
        admin_key: the admin key that the server was started with.
        load_timeout_s: timeout for loading one model, seconds.
        health_timeout_s: timeout of a health call, seconds.
    """

    endpoint: Endpoint | Path
    admin_key: str = field(repr=False)
    load_timeout_s: float = 120.0
    health_timeout_s: float = 5.0

    def model_is_ready(self, model: str) -> bool:
        """Return whether the server reports the model as ready; it does so even if its stub has died.

        Raises:
            Busy: the server does not respond.
        """
        status, _ = self._call("GET", f"/v2/models/{quote(model)}/ready", self.health_timeout_s)
        return status == http.client.OK

    def reload_model(self, model: str) -> None:
        """Replace all instances of a model by new ones.

        Raises:
            Busy: the server does not respond.
            InternalError: the model cannot be loaded; it is then unloaded.
        """
        # Loading alone does nothing if the model's files have not changed, even if its stub is dead.
        for action in ("unload", "load"):
            status, body = self._call("POST", f"/v2/repository/models/{quote(model)}/{action}", self.load_timeout_s)
            if status != http.client.OK:
                raise InternalError(f"{action} of model '{model}' failed: {_message(body)}")

    def _call(self, method: str, path: str, timeout_s: float) -> tuple[int, bytes]:
        # One connection per call: a stopping server waits for idle connections until its exit timeout.
        connection = _connection(self.endpoint, timeout_s)
        try:
            connection.request(method, path, headers={ADMIN_HEADER: self.admin_key, "Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Busy(f"the server at {self.endpoint} does not respond ({error!r})") from None
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _connection(endpoint: Endpoint | Path, timeout_s: float) -> http.client.HTTPConnection:
    if isinstance(endpoint, Path):
        return _UnixConnection(endpoint, timeout_s)
    return http.client.HTTPConnection(endpoint.reachable_host, endpoint.port, timeout=timeout_s)


def _message(body: bytes) -> str:
    """Return the error message of a response, without the traceback that follows it."""
    try:
        reason = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        reason = body.decode(errors="replace")
    return reason.split("\n", 1)[0]
