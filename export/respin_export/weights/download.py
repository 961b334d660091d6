"""Download one file from a plain URL, with resume and retries.

Files of Hugging Face repositories are downloaded by `respin_export.weights.hub`.
"""

from __future__ import annotations

import email.utils
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import httpx2

from respin.errors import Busy, InvalidInput

TEMPORARY = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
"""Statuses after which the same request may succeed later."""

ReportBytes = Callable[[int, int | None], None]
"""Callback with the bytes downloaded so far, and the size of the file or None."""


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the file system of a folder, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


class TryAgain(Exception):
    """A try failed and the next one may not.

    Args:
        reason: why, for a message.
        wait_s: seconds that the server asks to wait; None = it does not say.
    """

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class RetryPolicy:
    """The number of tries of a download, and the waits between them.

    Args:
        tries: number of tries in a row without progress before giving up.
        first_wait_s: seconds to wait after the first failure; doubled after each.
        longest_wait_s: longest wait, seconds; a server that asks for more is given up.
        sleep: called with the seconds to wait.
    """

    tries: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    sleep: Callable[[float], None] = time.sleep

    def wait(self, url: str, failures: int, error: TryAgain) -> None:
        """Wait before the next try.

        Raises:
            Busy: there were too many failures in a row, or the server asks for a longer wait than allowed.
        """
        wait_s = error.wait_s
        if wait_s is None:
            wait_s = min(self.first_wait_s * 2 ** (failures - 1), self.longest_wait_s)
        if failures >= self.tries or wait_s > self.longest_wait_s:
            asked = f" and asks to wait {wait_s:.0f} s" if error.wait_s is not None else ""
            raise Busy(
                f"{url} could not be downloaded ({error}{asked}; tries without progress: {failures}); "
                "run the same command again later, or name another source with --mirror"
            )
        self.sleep(wait_s)


def error_from_status(status: int, url: str, name: str, wait_s: float | None = None) -> Exception:
    """Return the error that an HTTP status other than success stands for: TryAgain or InvalidInput.

    Args:
        status: status of the response.
        url: address of the request.
        name: name of the file, for messages.
        wait_s: seconds that the server asks to wait.
    """
    if status in TEMPORARY:
        return TryAgain(f"the server answers {status}", wait_s)
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return InvalidInput(
            f"{url} answers {status}: there is no '{name}'; name another source with --mirror, or a folder that has "
            "it with --from"
        )
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return InvalidInput(
            f"{url} answers {status}: '{name}' needs permission; in a Hugging Face repository, accept the terms on "
            "its page and set HF_TOKEN to a token that may read it"
        )
    return InvalidInput(f"{url} answers {status}, not a file; name another source with --mirror")


@dataclass
class Download:
    """A download into `part`, which is kept between runs until the file is complete.

    Args:
        client: sends the requests.
        url: address of the file.
        part: file to write. Beside it, `<part>.json` records which version of the file it is a part of.
        retry: policy of further tries.
        report: called with the progress.
        room: function from a folder to the free bytes of its file system.
    """

    client: httpx2.Client
    url: str
    part: Path
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    report: ReportBytes = lambda done, total: None
    room: Callable[[Path], int] = free_bytes

    def run(self) -> None:
        """Download the file.

        Raises:
            InvalidInput: it is not there, needs permission, or does not fit on the disk.
            Busy: the server did not deliver.
        """
        failures = 0
        while True:
            before = self._kept()
            try:
                return self._attempt(before)
            except httpx2.TransportError as error:
                failure = TryAgain(f"{type(error).__name__}: {error}")
            except TryAgain as error:
                failure = error
            # A connection that breaks now and then is no reason to give up as long as data arrives.
            failures = 1 if self._kept() > before else failures + 1
            self.retry.wait(self.url, failures, failure)

    def _attempt(self, kept: int) -> None:
        headers = {"Accept-Encoding": "identity"}
        if kept:
            headers |= {"Range": f"bytes={kept}-", "If-Range": self._validator()}
        with self.client.stream("GET", self.url, headers=headers, follow_redirects=True) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                # The part is the whole file, or longer than what the file has become.
                if not kept or response.headers.get("Content-Range") != f"bytes */{kept}":
                    discard(self.part)
                    raise TryAgain("the file became shorter on the server")
                return
            if not response.is_success:
                status, name = response.status_code, self.part.stem
                raise error_from_status(status, self.url, name, _retry_after_s(response))
            self._take(response, self._start(response, kept))

    def _start(self, response: httpx2.Response, kept: int) -> int:
        """Return the first byte that the server sends: 0 if it has no ranges or another version of the file."""
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            return 0
        if not response.headers.get("Content-Range", "").startswith(f"bytes {kept}-"):
            discard(self.part)
            raise TryAgain("the server sent another range than the one asked for")
        return kept

    def _take(self, response: httpx2.Response, start: int) -> None:
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        if total is not None:
            check_room(total - start, self.part, self.room)
        if start == 0:
            self._begin(response)
        with self.part.open("r+b") as file:
            file.seek(start)
            file.truncate()
            self.report(start, total)
            # In pieces as they arrive: a buffer that is not full yet would be lost with its connection.
            for piece in response.iter_raw():
                file.write(piece)
                self.report(file.tell(), total)

    def _kept(self) -> int:
        """Return the bytes of an earlier try that a request can continue from."""
        if not (self.part.is_file() and self._validator()):
            return 0
        return self.part.stat().st_size

    def _validator(self) -> str:
        """Return the server's name for the version of the part; "" = none that a request can name."""
        try:
            notes = json.loads(_notes(self.part).read_text())
        except (FileNotFoundError, ValueError):
            return ""
        return str(notes["validator"]) if notes.get("url") == self.url else ""

    def _begin(self, response: httpx2.Response) -> None:
        etag = response.headers.get("ETag", "")
        # A weak tag may stand for other bytes; a server must not continue from it (RFC 9110, 13.1.5).
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        self.part.parent.mkdir(parents=True, exist_ok=True)
        self.part.write_bytes(b"")
        _notes(self.part).write_text(json.dumps({"url": self.url, "validator": validator}))


def check_room(needed: int, file: Path, room: Callable[[Path], int]) -> None:
    """Check that a file fits on the disk.

    Args:
        needed: bytes that are still to be written.
        file: its folder exists.
        room: function from a folder to the free bytes of its file system.

    Raises:
        InvalidInput: it does not fit.
    """
    if (free := room(file.parent)) < needed:
        raise InvalidInput(f"'{file.name}' needs {needed} more bytes and {free} are free; make room and run this again")


def settle(part: Path, destination: Path) -> None:
    """Rename a part that is complete and checked, in one step."""
    part.replace(destination)
    _notes(part).unlink(missing_ok=True)


def discard(part: Path) -> None:
    """Remove a part and its record."""
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _retry_after_s(response: httpx2.Response) -> float | None:
    """Return the seconds of Retry-After, which holds seconds or a date (RFC 9110, 10.2.3)."""
    said = response.headers.get("Retry-After")
    if said is None:
        return None
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None
