"""The endpoints of the server: check ports, and pick free ones, before it is launched."""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import dataclass

from respin.errors import InvalidInput


@dataclass(frozen=True)
class Endpoint:
    """An address that the server listens on."""

    host: str
    port: int

    @property
    def reachable_host(self) -> str:
        """The host to connect to from this machine: loopback if the server listens on all interfaces."""
        return "127.0.0.1" if self.host == "0.0.0.0" else self.host

    def __str__(self) -> str:
        """Return the address in the form that clients take: "host:port"."""
        return f"{self.reachable_host}:{self.port}"


def pick_endpoints(wanted: dict[str, tuple[str, int]]) -> dict[str, Endpoint]:
    """Check that each port is free, and pick one where the port is 0.

    Args:
        wanted: (host, port) by service name.

    Raises:
        InvalidInput: a port is in use, or may not be listened on.
    """
    endpoints = {}
    with contextlib.ExitStack() as held:
        # All sockets stay open until every port is bound, so that no two services get the same port.
        for name, (host, port) in wanted.items():
            listener = held.enter_context(contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)))
            endpoints[name] = Endpoint(host, _bind(listener, name, host, port))
    return endpoints


def _bind(listener: socket.socket, name: str, host: str, port: int) -> int:
    # Without this a port stays in use for a minute after its server has stopped.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Two sockets may share a port that neither listens on yet.
        listener.listen()
    except OSError as error:
        raise InvalidInput(f"{name} port {port} on {host} {_reason(error)}") from None
    return int(listener.getsockname()[1])


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "is already in use; stop the process that listens there, or choose another port (0 picks a free one)"
    if error.errno == errno.EACCES:
        return "may not be listened on by this user; choose one from 1024 up"
    return f"cannot be listened on ({error.strerror}); use an address of this machine"
