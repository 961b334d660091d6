"""Bringing the published checkpoints into the weights folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from rich.progress import Progress

from respin.errors import ContractMismatch, InvalidInput
from respin.model_set import sha256_of
from respin_export.weights.catalogue import DEFAULT_HUB, SHA256_DIGITS, Chosen, WeightFile
from respin_export.weights.download import Download, DownloadInfo, RetryPolicy, discard, free_bytes, settle
from respin_export.weights.verify import RECEIPTS, check, read_receipts

TIMEOUT = httpx2.Timeout(30.0)  # 30 s without a byte, or to connect; a whole file may take hours


@dataclass(frozen=True)
class Source:
    """Where files come from.

    Args:
        hub: of Hugging Face repositories: their endpoint or a mirror that has the same paths (HF_ENDPOINT).
        mirror: everything comes from `<mirror>/<checkpoint>/<file>` instead: a weights folder served over HTTP.
        folder: everything comes from `<folder>/<checkpoint>/<file>` or `<folder>/<file>` instead; no network is used.
        token: for the hub; sent to its host alone.
    """

    hub: str = DEFAULT_HUB
    mirror: str | None = None
    folder: Path | None = None
    token: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        for name, url in (("HF_ENDPOINT", self.hub), ("--mirror", self.mirror)):
            if url is not None and urlsplit(url).scheme not in ("http", "https"):
                raise InvalidInput(f"{name} is '{url}'; it must begin with https:// or http://")

    def url(self, chosen: Chosen, file: WeightFile) -> str:
        """The address that a file is fetched from."""
        if self.mirror is not None:
            return f"{self.mirror.rstrip('/')}/{chosen.checkpoint.name}/{file.path}"
        return chosen.variant.url(file, self.hub.rstrip("/"))

    def headers(self, url: str) -> dict[str, str]:
        """What to send along to an address: the token, and to the hub only."""
        if self.token is None or self.mirror is not None or urlsplit(url).netloc != urlsplit(self.hub).netloc:
            return {}
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class Fetcher:
    """Brings files.

    Args:
        weights: the weights folder.
        source: where from.
        progress: shows one bar a file.
        retry: with servers.
        room: bytes free where a folder lies.
    """

    weights: Path
    source: Source
    progress: Progress
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    room: Callable[[Path], int] = free_bytes

    def fetch(self, wanted: Sequence[Chosen]) -> list[str]:
        """Bring what is not there yet; what is there is compared with the catalogue and left alone.

        Returns:
            a sentence about each file.

        Raises:
            InvalidInput: a file cannot be had so, or does not fit on the disk.
            ContractMismatch: a file is not the published one; nothing is left of what was brought.
            Busy: a server does not deliver now.
        """
        missing = []
        said = []
        for chosen, file in _files(wanted):
            path = self._path(chosen, file)
            if not path.is_file():
                missing.append((chosen, file))
                continue
            self._check_own(path, file)
            said.append(f"{path}: there already, {_known(file)}")
        self._require_room(missing)
        with httpx2.Client(timeout=TIMEOUT) as client:
            said += [self._bring(client, chosen, file) for chosen, file in missing]
        return said

    def _path(self, chosen: Chosen, file: WeightFile) -> Path:
        return self.weights / chosen.checkpoint.name / file.path

    def _check_own(self, path: Path, file: WeightFile) -> None:
        try:
            check(path, file)
        except ContractMismatch as error:
            raise ContractMismatch(
                f"{error}; remove '{path}' to have it fetched, or name another folder with --weights"
            ) from None

    def _require_room(self, missing: Sequence[tuple[Chosen, WeightFile]]) -> None:
        needed = 0
        for chosen, file in missing:
            part = _part(self._path(chosen, file))
            needed += max(0, (file.size_bytes or 0) - (part.stat().st_size if part.is_file() else 0))
        if needed > (room := self.room(self.weights)):
            raise InvalidInput(
                f"about {needed / 1e9:.1f} GB are to come and {room / 1e9:.1f} GB are free for '{self.weights}'; "
                "make room, or name another folder with --weights"
            )

    def _bring(self, client: httpx2.Client, chosen: Chosen, file: WeightFile) -> str:
        path = self._path(chosen, file)
        part = _part(path)
        part.parent.mkdir(parents=True, exist_ok=True)
        if self.source.folder is not None:
            url, arrived = self._copy(self.source.folder, chosen, file, part), DownloadInfo()
        else:
            url = self.source.url(chosen, file)
            arrived = self._download(client, url, part)
        told = _with_told(file, arrived)
        try:
            check(part, told)
        except ContractMismatch as error:
            discard(part)
            raise ContractMismatch(
                f"what came from {url} is not the published file: {error}; it was removed: run this again, and name "
                "another source with --mirror or --from if it stays so"
            ) from None
        against = _checked_against(file, arrived)
        self._note(path, part, url, against)
        settle(part, path)
        return f"{path}: fetched, " + (
            "no SHA-256 is published for it" if against is None else f"agrees with {against}"
        )

    def _download(self, client: httpx2.Client, url: str, part: Path) -> DownloadInfo:
        task = self.progress.add_task(part.stem, total=None)
        return Download(
            client,
            url,
            part,
            headers=self.source.headers(url),
            retry=self.retry,
            report=lambda done, total: self.progress.update(task, completed=done, total=total),
            room=self.room,
        ).run()

    def _copy(self, folder: Path, chosen: Chosen, file: WeightFile, part: Path) -> str:
        """Link the file where both folders are on one file system, else copy it."""
        places = (folder / chosen.checkpoint.name / file.path, folder / file.path)
        for place in places:
            if place.is_file():
                part.unlink(missing_ok=True)
                try:
                    os.link(place.resolve(), part)
                except OSError:
                    shutil.copyfile(place, part)
                return str(place)
        raise InvalidInput(f"'{folder}' has no {file.path} of {chosen.name}; looked for {places[0]} and {places[1]}")

    def _note(self, path: Path, part: Path, url: str, against: str | None) -> None:
        """Keep a receipt, so that `verify` can tell whether a file without a published checksum has changed since."""
        receipts = read_receipts(self.weights)
        receipts[path.relative_to(self.weights).as_posix()] = {
            "url": url,
            "size_bytes": part.stat().st_size,
            "sha256": sha256_of(part),
            "checked_against": against,
        }
        (self.weights / RECEIPTS).write_text(json.dumps(receipts, indent=1) + "\n")


def _files(wanted: Sequence[Chosen]) -> Iterator[tuple[Chosen, WeightFile]]:
    for chosen in wanted:
        for file in chosen.variant.files:
            yield chosen, file


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _with_told(file: WeightFile, arrived: DownloadInfo) -> WeightFile:
    """What is known of a file, filled up with what the Hub told of it."""
    if file.sha256 is not None or arrived.sha256 is None:
        return file
    return replace(file, size_bytes=arrived.size_bytes, size_is_exact=True, sha256=arrived.sha256)


def _checked_against(file: WeightFile, arrived: DownloadInfo) -> str | None:
    if file.sha256 is not None:
        return _known(file)
    return None if arrived.sha256 is None else "the SHA-256 that the Hub gave with it"


def _known(file: WeightFile) -> str:
    if file.sha256 is None:
        return "no SHA-256 is published for it"
    digits = len(file.sha256)
    return "the published SHA-256" if digits == SHA256_DIGITS else f"the {digits} published digits of its SHA-256"
