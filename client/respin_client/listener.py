"""Find out what listens at an address that ended gRPC's connection: gRPC's own message is the same for all of them."""

from __future__ import annotations

import re
import socket
import ssl
from typing import Literal

Encryption = Literal["none", "TLS", "mutual TLS"]
"""How a client connects; with mutual TLS it shows a certificate, too."""

_TIMEOUT_S = 1.0
_HTTP_REQUEST = b"GET / HTTP/1.1\r\nHost: respin\r\nConnection: close\r\n\r\n"
_ADDRESS = re.compile(r"(?:(?:dns|ipv4|ipv6):(?:///)?)?\[?([^\[\]]+)\]?:(\d+)")


def listener_at(url: str) -> Encryption | Literal["HTTP"] | None:
    """Ask what listens at an address, and return it.

    Nothing of a request is sent. HTTP comes first: tritonserver 2.51 may crash where its port for HTTP gets anything
    else.

    Args:
        url: host:port, as `check_url` returns it.

    Returns:
        "HTTP" for an HTTP server, of Triton's API or metrics for instance; otherwise how a gRPC server wants to be
        connected to; None if that is not known.
    """
    found = _ADDRESS.fullmatch(url)
    if not found:
        return None
    address = found[1], int(found[2])
    try:
        answer = _first_answer(address, _HTTP_REQUEST)
        if answer.startswith(b"HTTP/"):
            return "HTTP"
        return "none" if answer else _encryption(address)
    except OSError:
        return None


def _first_answer(address: tuple[str, int], message: bytes) -> bytes:
    with socket.create_connection(address, _TIMEOUT_S) as connection:
        connection.sendall(message)
        try:
            return connection.recv(64)
        except ConnectionError:
            return b""


def _encryption(address: tuple[str, int]) -> Encryption:
    context = ssl.create_default_context()
    # What listens there is asked, not trusted: it is sent nothing.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(address, _TIMEOUT_S) as plain, context.wrap_socket(plain) as connection:
        try:
            # A gRPC server speaks first, with its settings; one that wants a certificate has ended the connection.
            return "TLS" if connection.recv(1) else "mutual TLS"
        except (ssl.SSLError, ConnectionError):
            return "mutual TLS"
