"""Download one file, by huggingface_hub, which resumes broken connections.

A file of a Hugging Face repository is taken from the library's cache where it is there already, and by Xet. The other
files have a plain URL; their download goes on where an ended process stopped.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import FileMetadataError, HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.file_download import http_get
from tqdm import tqdm  # type: ignore[import-untyped]  # it has no types

from respin.errors import Busy, InvalidInput
from respin_export.disk import FreeBytes, check_room
from respin_export.weights.catalogue import SHA256_DIGITS

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


FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 120.0
"""Waits after the first failure, doubled after each, and at most."""


@dataclass(frozen=True)
class RetryPolicy:
    """The tries of a download.

    Args:
        tries: number of tries in a row without progress before giving up.
        sleep: called with the seconds to wait before the next try.
    """

    tries: int = 6
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class HubFile:
    """A file of a repository, and the access to it.

    Args:
        repository: owner/name.
        revision: commit of the repository.
        path: path of the file in the repository.
        endpoint: address of the Hub, or of a mirror that has the same paths.
        token: sent to the endpoint and to no other host; None = the one that `hf auth login` stored, if any.
    """

    repository: str
    revision: str
    path: str
    endpoint: str
    token: str | None = None

    def __str__(self) -> str:
        """Return the address of the file."""
        return hf_hub_url(self.repository, self.path, revision=self.revision, endpoint=self.endpoint)


@dataclass(frozen=True)
class Download:
    """A download of one file.

    Args:
        source: a file of the Hub, or a URL.
        part: file to write, in a folder that exists; `<part>.version` beside it holds the version that it is part of.
        retry: policy of further tries.
        report: called with the progress.
        free: function from a folder to the free bytes of its file system.
    """

    source: HubFile | str
    part: Path
    retry: RetryPolicy
    report: ReportBytes
    free: FreeBytes

    def run(self) -> str | None:
        """Download the file.

        Returns:
            the SHA-256 that the Hub states, in hex; None for small files and other servers.

        Raises:
            InvalidInput: it is not there, needs permission, or does not fit on the disk.
            Busy: the server did not deliver.
        """
        failures = 0
        while True:
            before = self._kept_bytes()
            try:
                return self._attempt()
            except (OSError, httpx2.HTTPError) as error:
                reason = self._temporary(error)
            # A connection that breaks now and then is no reason to give up as long as data arrives.
            failures = 1 if self._kept_bytes() > before else failures + 1
            if failures >= self.retry.tries:
                raise Busy(
                    f"{self.source} could not be downloaded ({reason}; tries without progress: {failures}); "
                    "run the same command again later, or name another source with --mirror"
                )
            self.retry.sleep(min(FIRST_WAIT_S * 2 ** (failures - 1), LONGEST_WAIT_S))

    def _attempt(self) -> str | None:
        if isinstance(self.source, HubFile):
            return self._from_hub(self.source)
        stated = get_hf_file_metadata(self.source, token=False)
        version, known = f"{self.source} {stated.etag}", version_file(self.part)
        if stated.etag is None or not known.is_file() or known.read_text() != version:
            self.part.write_bytes(b"")
            known.write_text(version)
        kept = self._kept_bytes()
        self._check_room((stated.size or 0) - kept)
        with self.part.open("ab") as file:
            http_get(self.source, file, resume_size=kept, expected_size=stated.size, tqdm_class=_bar(self.report, kept))
        return None

    def _from_hub(self, file: HubFile) -> str | None:
        staging = self.part.with_name(f"{self.part.name}.hub")
        try:
            stated = get_hf_file_metadata(str(file), token=file.token, endpoint=file.endpoint)
            self._check_room(stated.size or 0)
            arrived = hf_hub_download(
                file.repository,
                file.path,
                revision=file.revision,
                local_dir=staging,
                endpoint=file.endpoint,
                token=file.token,
                tqdm_class=_bar(self.report),
            )
            Path(arrived).replace(self.part)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return stated.etag if len(stated.etag or "") == SHA256_DIGITS else None

    def _kept_bytes(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _check_room(self, needed: int) -> None:
        remedy = "make room and run this again"
        check_room(f"'{self.part.stem}' still needs", needed, self.part.parent, free=self.free, remedy=remedy)

    def _temporary(self, error: BaseException) -> str:
        """Return the reason of a failure after which the next try may succeed; otherwise raise InvalidInput."""
        if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
            return self._temporary(error.__cause__)
        if isinstance(error, FileMetadataError):
            endpoint = self.source.endpoint if isinstance(self.source, HubFile) else self.source
            raise InvalidInput(f"{endpoint} is not a Hugging Face endpoint ({error}); check HF_ENDPOINT") from None
        if not isinstance(error, HfHubHTTPError):
            return f"{type(error).__name__}: {error}"
        if (status := error.response.status_code) in TEMPORARY:
            return f"the server answers {status}"
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            discard(self.part)
            return "the server has fewer bytes than it said"
        raise InvalidInput(f"{self.source} answers {status}{_remedy(status, self.part.stem)}") from None


def _remedy(status: int, name: str) -> str:
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return f": there is no '{name}'; name another source with --mirror, or a folder that has it with --from"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return (
            f": '{name}' needs permission; in a Hugging Face repository, accept the terms on its page and set HF_TOKEN "
            "to a token that may read it"
        )
    return ", not a file; name another source with --mirror"


def version_file(part: Path) -> Path:
    """Return the file beside a part that holds its address and the server's name for its version."""
    return part.with_name(f"{part.name}.version")


def discard(part: Path) -> None:
    """Remove a part and its version."""
    part.unlink(missing_ok=True)
    version_file(part).unlink(missing_ok=True)


def _bar(report: ReportBytes, kept: int = 0) -> Any:
    class Bar(tqdm):  # type: ignore[misc]
        """A progress bar that draws nothing and reports the bytes."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})
            self.n = options.get("initial", kept)

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            report(int(self.n), None if self.total is None else int(self.total))
            return None

    return Bar
