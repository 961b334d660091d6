"""The launcher's own call to its server: whether a model is ready.

It uses HTTP, not gRPC: HTTP has no TLS, so the call needs no certificate. It listens on a Unix socket in a folder of
this user's, where no other program reaches it, unless the operator asks for a port.
"""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from respin.errors import Busy
from respin_server.ports import Endpoint

ADMIN_HEADER = "admin-key"
"""HTTP header of the admin key; over gRPC it is `triton-grpc-protocol-admin-key`."""


@dataclass(frozen=True)
class Control:
    """Health calls.

    Args:
        endpoint: endpoint of the server's HTTP API, or its Unix socket.
        timeout_s: timeout of a call, seconds.
    """

    endpoint: Endpoint | Path
    timeout_s: float = 5.0

    def model_is_ready(self, model: str) -> bool:
        """Return whether the server reports the model as ready; it does so even if its stub has died.

        Raises:
            Busy: the server does not respond.
        """
        # One connection per call: a stopping server waits for idle connections until its exit timeout.
        connection = _connection(self.endpoint, self.timeout_s)
        try:
            connection.request("GET", f"/v2/models/{quote(model)}/ready", headers={"Connection": "close"})
            return connection.getresponse().status == http.client.OK
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
