"""Where the server listens: ports checked, and free ones picked, before it is launched."""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import dataclass

from respin.errors import InvalidInput


@dataclass(frozen=True)
class Endpoint:
    """One address that the server listens on."""

    host: str
    port: int

    @property
    def reachable_host(self) -> str:
        """The host to call from this machine: a server that listens everywhere is called over loopback."""
        return "127.0.0.1" if self.host == "0.0.0.0" else self.host

    def __str__(self) -> str:
        """As a client wants it: host:port."""
        return f"{self.reachable_host}:{self.port}"


def free_endpoints(wanted: dict[str, tuple[str, int]]) -> dict[str, Endpoint]:
    """Check that each port is free, and pick one where the port is 0.

    Args:
        wanted: service name, for the message -> (host, port).

    Raises:
        InvalidInput: a port is taken, or may not be listened on.
    """
    endpoints = {}
    with contextlib.ExitStack() as held:
        # Each is held until all are bound: no two services are given the same port.
        for name, (host, port) in wanted.items():
            listener = held.enter_context(contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)))
            endpoints[name] = Endpoint(host, _bind(listener, name, host, port))
    return endpoints


def _bind(listener: socket.socket, name: str, host: str, port: int) -> int:
    # Without this a port stays taken for a minute after its server has stopped.
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
        return "is already taken; stop what listens there or choose another (0 picks a free one)"
    if error.errno == errno.EACCES:
        return "may not be listened on by this user; choose one from 1024 up"
    return f"cannot be listened on ({error.strerror}); name an address of this machine"
