"""Check where a call goes, and the headers that it carries, before gRPC does: its own words name neither."""

from __future__ import annotations

import re
from collections.abc import Mapping

from respin.errors import InvalidInput

MAX_HEADERS_BYTES = 8192
"""Longest headers of a call, names and values together; gRPC servers refuse more, some of them with other words."""

_HOST_AND_PORT = re.compile(r"(?:(?:dns|ipv4|ipv6):(?:///)?)?(?:\[[0-9A-Fa-f:.%]+\]|[\w.-]+):(\d{1,5})", re.ASCII)
_SOCKET = re.compile(r"unix(?:-abstract)?:\S+")
_HEADER_NAME = re.compile(r"[0-9a-z_.-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


def check_url(url: str) -> str:
    """Return an address that gRPC can connect to as it is written.

    gRPC takes port 99999 for 34463 and none at all for 443, and would send the photo there.

    Raises:
        InvalidInput: it is not host:port, nor unix:path.
    """
    found = _HOST_AND_PORT.fullmatch(url)
    if not (found and 0 < int(found[1]) < 2**16) and not _SOCKET.fullmatch(url):
        raise InvalidInput(f"url is {url[:100]!r}; give host:port of the server's gRPC port, e.g. 127.0.0.1:8001")
    return url


def check_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return headers as gRPC takes them: names in lower case.

    Raises:
        InvalidInput: a name or a value has characters that no header has, or is gRPC's own, or all are too long.
    """
    made = tuple((name.lower(), value) for name, value in headers.items())
    for name, value in made:
        # A value may be a password: it is not quoted.
        if not _HEADER_NAME.fullmatch(name) or name.startswith("grpc-") or name.endswith("-bin"):
            raise InvalidInput(
                f"header {name[:60]!r} has a name that cannot be sent; use letters, digits, '-', '_' and '.', "
                "without grpc- before and -bin behind them"
            )
        if not _HEADER_VALUE.fullmatch(value):
            raise InvalidInput(f"header {name[:60]!r} has a value that is not printable ASCII; encode it")
    size = sum(len(name) + len(value) for name, value in made)
    if size > MAX_HEADERS_BYTES:
        longest = max(made, key=lambda header: len(header[1]))[0]
        raise InvalidInput(
            f"the headers have {size} bytes, most of them '{longest[:60]}'; send at most {MAX_HEADERS_BYTES}"
        )
    return made
