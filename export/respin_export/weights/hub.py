"""Download one file of a Hugging Face repository, by huggingface_hub.

The library resumes broken connections, takes the file from its cache where it is there already, and speaks Xet.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import FileMetadataError, HfHubHTTPError, LocalEntryNotFoundError
from tqdm import tqdm  # type: ignore[import-untyped]  # it has no types

from respin.errors import InvalidInput
from respin_export.weights.catalogue import SHA256_DIGITS
from respin_export.weights.download import ReportBytes, RetryPolicy, TryAgain, check_room, error_from_status


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

    @property
    def url(self) -> str:
        """Address of the file."""
        return hf_hub_url(self.repository, self.path, revision=self.revision, endpoint=self.endpoint)


@dataclass(frozen=True)
class HubRecord:
    """Size and checksum of a file as the Hub states them.

    Args:
        size_bytes: None = not stated.
        sha256: in hex; None for small files, of which the Hub states a git hash.
    """

    size_bytes: int | None
    sha256: str | None


def download_hub_file(
    file: HubFile, part: Path, *, retry: RetryPolicy, report: ReportBytes, room: Callable[[Path], int]
) -> HubRecord:
    """Download a file.

    A broken connection is resumed. A process that was ended begins the file again.

    Args:
        file: the file to download.
        part: file to write; its folder exists.
        retry: policy of further tries.
        report: called with the progress.
        room: function from a folder to the free bytes of its file system.

    Raises:
        InvalidInput: the file is not there, needs a token or an accepted licence, or does not fit on the disk.
        Busy: the Hub did not deliver.
    """
    failures = 0
    while True:
        try:
            return _attempt(file, part, report, room)
        except TryAgain as error:
            failures += 1
            retry.wait(file.url, failures, error)


def _attempt(file: HubFile, part: Path, report: ReportBytes, room: Callable[[Path], int]) -> HubRecord:
    staging = part.with_name(f"{part.name}.hub")
    try:
        stated = get_hf_file_metadata(file.url, token=file.token, endpoint=file.endpoint)
        check_room(stated.size or 0, part, room)
        arrived = hf_hub_download(
            file.repository,
            file.path,
            revision=file.revision,
            local_dir=staging,
            endpoint=file.endpoint,
            token=file.token,
            tqdm_class=_bar(report),
        )
        Path(arrived).replace(part)
    except (OSError, httpx2.HTTPError) as error:
        raise _translate_error(error, file) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    etag = stated.etag or ""
    return HubRecord(stated.size, etag if len(etag) == SHA256_DIGITS else None)


def _translate_error(error: BaseException, file: HubFile) -> Exception:
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        return _translate_error(error.__cause__, file)
    if isinstance(error, FileMetadataError):
        return InvalidInput(f"{file.endpoint} is not a Hugging Face endpoint ({error}); check HF_ENDPOINT")
    if isinstance(error, HfHubHTTPError):
        return error_from_status(error.response.status_code, file.url, file.path)
    return TryAgain(f"{type(error).__name__}: {error}")


def _bar(report: ReportBytes) -> Any:
    class Bar(tqdm):  # type: ignore[misc]
        """A progress bar that draws nothing and reports the bytes."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            report(int(self.n), None if self.total is None else int(self.total))
            return None

    return Bar
