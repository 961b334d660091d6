"""One file over HTTP, with resume and retries."""

from __future__ import annotations

import email.utils
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import httpx2

from respin.errors import Busy, InvalidInput
from respin_export.weights.catalogue import SHA256_DIGITS

TEMPORARY = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
"""Answers after which the same request may do better later."""

Report = Callable[[int, int | None], None]
"""Told (bytes there, bytes in all if known) as they come."""


def free_bytes(folder: Path) -> int:
    """Room left on the file system that a folder lies on, or will."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long to wait for a server.

    Args:
        tries: in a row that bring nothing, before giving up.
        first_wait_s: after the first; doubled after each.
        longest_wait_s: of any wait; a server that asks for longer is not waited for.
        sleep: called with seconds.
    """

    tries: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class DownloadInfo:
    """What the server said of a file that is there in full.

    Args:
        size_bytes: as the Hub knows it (X-Linked-Size); None = it is not a large file of the Hub.
        sha256: as the Hub knows it (X-Linked-Etag, which for large files is the SHA-256); None likewise.
    """

    size_bytes: int | None = None
    sha256: str | None = None


class _Later(Exception):
    """This try failed; another may not."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass
class Download:
    """A file on its way into `part`; what has come is kept between runs.

    Args:
        client: follows redirects; it drops the Authorization header where one leads to another host.
        url: of the file.
        part: where to put it. Beside it, `<part>.json` says which version of the file the part is of.
        headers: to send along.
        retry: with the server.
        report: of progress.
        room: bytes free where `part` lies.
    """

    client: httpx2.Client
    url: str
    part: Path
    headers: Mapping[str, str] = field(default_factory=dict)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    report: Report = lambda done, total: None
    room: Callable[[Path], int] = free_bytes

    def run(self) -> DownloadInfo:
        """Bring the file.

        Raises:
            InvalidInput: it needs a token or a licence accepted, is not there, or does not fit on the disk.
            Busy: the server did not deliver.
        """
        failures = 0
        while True:
            before = self._kept()
            try:
                return self._attempt(before)
            except httpx2.TransportError as error:
                later = _Later(f"{type(error).__name__}: {error}")
            except _Later as error:
                later = error
            # A connection that breaks every now and then is no reason to give up as long as it brings something.
            failures = 1 if self._kept() > before else failures + 1
            self._wait(failures, later)

    def _wait(self, failures: int, later: _Later) -> None:
        retry = self.retry
        wait_s = later.wait_s
        if wait_s is None:
            wait_s = min(retry.first_wait_s * 2 ** (failures - 1), retry.longest_wait_s)
        if failures >= retry.tries or wait_s > retry.longest_wait_s:
            asked = f" and asks to wait {wait_s:.0f} s" if later.wait_s is not None else ""
            raise Busy(
                f"{self.url} does not come ({later}{asked}; tries without progress: {failures}); "
                "what has come is kept: run the same command again later, or name another source with --mirror"
            )
        retry.sleep(wait_s)

    def _attempt(self, kept: int) -> DownloadInfo:
        headers = {**self.headers, "Accept-Encoding": "identity"}
        if kept:
            headers |= {"Range": f"bytes={kept}-", "If-Range": self._validator()}
        with self.client.stream("GET", self.url, headers=headers, follow_redirects=True) as response:
            self._refuse(response)
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                # The part is the whole file, or longer than what the file has become.
                if not kept or response.headers.get("Content-Range") != f"bytes */{kept}":
                    discard(self.part)
                    raise _Later("the file became shorter on the server")
            else:
                self._take(response, self._start(response, kept))
            return _said(response)

    def _start(self, response: httpx2.Response, kept: int) -> int:
        """From which byte on the server sends: 0 where it knows no ranges or has another version of the file."""
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            return 0
        if not response.headers.get("Content-Range", "").startswith(f"bytes {kept}-"):
            discard(self.part)
            raise _Later("the server sent another range than the one asked for")
        return kept

    def _take(self, response: httpx2.Response, start: int) -> None:
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        if total is not None and (room := self.room(self.part.parent)) < total - start:
            raise InvalidInput(
                f"'{self.part.name}' needs {total - start} more bytes and {room} are free; make room and run this again"
            )
        if start == 0:
            self._begin(response)
        with self.part.open("r+b") as file:
            file.seek(start)
            file.truncate()
            self.report(start, total)
            # In pieces as the network brings them: a piece still being filled is lost with its connection.
            for piece in response.iter_raw():
                file.write(piece)
                self.report(file.tell(), total)

    def _refuse(self, response: httpx2.Response) -> None:
        status, url = response.status_code, self.url
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise InvalidInput(
                f"{url} answers {status}: it wants to know who asks; accept the terms on its page if it has any, and "
                "set HF_TOKEN to a token that may read it (sent to the Hugging Face endpoint alone)"
            )
        if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise InvalidInput(
                f"{url} answers {status}: '{self.part.stem}' was looked for there; name another source with --mirror, "
                "or a folder that has it with --from"
            )
        if status in TEMPORARY:
            raise _Later(f"it answers {status}", _retry_after_s(response))
        if not response.is_success and status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise InvalidInput(
                f"{url} answers {status} {response.reason_phrase}, not a file; name another with --mirror"
            )

    def _kept(self) -> int:
        """Bytes of an earlier try that can be gone on from."""
        if not (self.part.is_file() and self._validator()):
            return 0
        return self.part.stat().st_size

    def _validator(self) -> str:
        """What the server called the version of the part; "" = nothing that it can be asked for."""
        try:
            notes = json.loads(_notes(self.part).read_text())
        except (FileNotFoundError, ValueError):
            return ""
        return str(notes["validator"]) if notes.get("url") == self.url else ""

    def _begin(self, response: httpx2.Response) -> None:
        etag = response.headers.get("ETag", "")
        # A weak tag may stand for other bytes; a server must not go on from it (RFC 9110, 13.1.5).
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        self.part.parent.mkdir(parents=True, exist_ok=True)
        self.part.write_bytes(b"")
        _notes(self.part).write_text(json.dumps({"url": self.url, "validator": validator}))


def settle(part: Path, destination: Path) -> None:
    """Give a part that is whole and right its name, in one step."""
    part.replace(destination)
    _notes(part).unlink(missing_ok=True)


def discard(part: Path) -> None:
    """Forget a part."""
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _said(response: httpx2.Response) -> DownloadInfo:
    for answer in (*response.history, response):
        etag = answer.headers.get("X-Linked-Etag", "").removeprefix("W/").strip('"')
        if len(etag) == SHA256_DIGITS:
            size = answer.headers.get("X-Linked-Size")
            return DownloadInfo(int(size) if size is not None else None, etag)
    return DownloadInfo()


def _retry_after_s(response: httpx2.Response) -> float | None:
    """Seconds until the server wants to be asked again; it says seconds or a date (RFC 9110, 10.2.3)."""
    said = response.headers.get("Retry-After")
    if said is None:
        return None
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None
