"""Servers on the loopback interface: of one file, which can misbehave, and of a Hugging Face repository."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Behaviour = Callable[["_Handler"], None]


class FileServer(ThreadingHTTPServer):
    """Serves `content` at every path: honestly, once the `behaviours` are used up, one a GET."""

    daemon_threads = False

    def __init__(self, content: bytes, *behaviours: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.behaviours = list(behaviours)
        self.version = '"first"'
        self.always: Behaviour = honest
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.gets: list[Mapping[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_GET(self) -> None:
        self.server.gets.append(dict(self.headers))
        self.answer(self.server.behaviours.pop(0) if self.server.behaviours else self.server.always)

    def do_HEAD(self) -> None:
        self.answer(self.server.always)

    def answer(self, behaviour: Behaviour) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        behaviour(self)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""

    def reply(self, status: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    @property
    def start(self) -> int | None:
        """First byte of a requested range that holds for the file as it is now."""
        asked = self.headers.get("Range")
        if asked is None or self.headers.get("If-Range", self.server.version) != self.server.version:
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))


def honest(request: _Handler) -> None:
    send(request, len(request.server.content))


def send(request: _Handler, end: int, *, length: int | None = None) -> None:
    """Send the bytes before `end` of what is asked for, saying that all of it, or `length`, comes."""
    server, start = request.server, request.start
    whole = len(server.content)
    if start is not None and start >= whole:
        request.reply(416, Content_Range=f"bytes */{whole}")
        return
    first = start or 0
    status, headers = 200, {"ETag": server.version}
    if start is not None:
        status, headers = 206, headers | {"Content_Range": f"bytes {first}-{whole - 1}/{whole}"}
    request.reply(status, server.content[first:end], length=whole - first if length is None else length, **headers)


def dropping_after(end: int) -> Behaviour:
    return lambda request: send(request, end)


def saying_length(length: int) -> Behaviour:
    return lambda request: send(request, min(length, len(request.server.content)), length=length)


def answering(status: int, **headers: str) -> Behaviour:
    return lambda request: request.reply(status, b"no", **headers)


def knowing_no_ranges(end: int) -> Behaviour:
    def behave(request: _Handler) -> None:
        request.reply(
            200, request.server.content[:end], length=len(request.server.content), ETag=request.server.version
        )

    return behave


def sending(body: bytes) -> Behaviour:
    return lambda request: request.reply(200, body)


def linking_to(storage: str, content: bytes) -> Behaviour:
    """Answer as the Hub does for a large file: its checksum and size, and a redirect to a storage host."""
    return answering(
        302,
        Location=storage,
        X_Repo_Commit="0" * 40,
        X_Linked_Etag=f'"{hashlib.sha256(content).hexdigest()}"',
        X_Linked_Size=str(len(content)),
    )


def holding_repository(folder: Path, repository: str, revision: str) -> Behaviour:
    """Serve a folder as the Hub serves a repository of small files."""
    prefix = f"/{repository}/resolve/{revision}/"

    def behave(request: _Handler) -> None:
        path = folder / request.path.removeprefix(prefix)
        if not request.path.startswith(prefix) or not path.is_file():
            request.reply(404, b"Entry not found", X_Error_Code="EntryNotFound")
            return
        content = path.read_bytes()
        request.reply(200, content, X_Repo_Commit=revision, ETag=f'"{hashlib.sha1(content).hexdigest()}"')

    return behave


@contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    """Answer requests while the block runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
