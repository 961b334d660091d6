"""The launcher's own calls to its server: is it ready, and load this model anew.

They go over HTTP, not gRPC: the HTTP port is reached over loopback and stays without TLS, so that these calls need no
certificate, whatever the clients need.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from urllib.parse import quote

from respin.errors import Busy, InternalError
from respin_server.ports import Endpoint

ADMIN_HEADER = "admin-key"
"""HTTP header of the admin key; over gRPC it is `triton-grpc-protocol-admin-key`."""


@dataclass(frozen=True)
class Control:
    """Health and model-repository calls.

    Args:
        endpoint: of the server's HTTP API.
        admin_key: that the server was started with.
        load_timeout_s: how long one model may take to load.
        health_timeout_s: how long a health call may take.
    """

    endpoint: Endpoint
    admin_key: str = field(repr=False)
    load_timeout_s: float = 120.0
    health_timeout_s: float = 5.0

    def model_is_ready(self, model: str) -> bool:
        """Whether the server says that the model is ready; it says so of one whose stub has died, too.

        Raises:
            Busy: the server does not answer.
        """
        status, _ = self._call("GET", f"/v2/models/{quote(model)}/ready", self.health_timeout_s)
        return status == http.client.OK

    def reload_model(self, model: str) -> None:
        """Replace every instance of a model by a fresh one.

        Raises:
            Busy: the server does not answer.
            InternalError: the model cannot be loaded; it is then unloaded.
        """
        # Load alone does nothing for a model whose files have not changed, dead stub or not.
        for action in ("unload", "load"):
            status, body = self._call("POST", f"/v2/repository/models/{quote(model)}/{action}", self.load_timeout_s)
            if status != http.client.OK:
                raise InternalError(f"{action} of model '{model}' failed: {_message(body)}")

    def _call(self, method: str, path: str, timeout_s: float) -> tuple[int, bytes]:
        # One connection a call: a stopping server waits for every idle one until its exit timeout.
        connection = http.client.HTTPConnection(self.endpoint.reachable_host, self.endpoint.port, timeout=timeout_s)
        try:
            connection.request(method, path, headers={ADMIN_HEADER: self.admin_key, "Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Busy(f"the server at {self.endpoint} does not answer ({error!r})") from None
        finally:
            connection.close()


def _message(body: bytes) -> str:
    """What went wrong, without the traceback that follows it."""
    try:
        reason = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        reason = body.decode(errors="replace")
    return reason.split("\n", 1)[0]
