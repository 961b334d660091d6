"""Fetch the published checkpoints into the weights folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from rich.progress import Progress

from respin.errors import ContractMismatch, InvalidInput
from respin.model_set import sha256_of
from respin_export.disk import FreeBytes, check_room, free_bytes
from respin_export.weights.catalogue import DEFAULT_HUB, SHA256_DIGITS, Chosen, WeightFile
from respin_export.weights.download import Download, HubFile, RetryPolicy, discard, version_file
from respin_export.weights.verify import RECEIPTS, bytes_left, check, part_file, read_receipts


@dataclass(frozen=True)
class DownloadSource:
    """The source of files.

    Args:
        hub: endpoint of Hugging Face repositories, or a mirror that has the same paths (HF_ENDPOINT).
        mirror: URL of a weights folder; all files come from `<mirror>/<checkpoint>/<file>` instead.
        folder: all files come from `<folder>/<checkpoint>/<file>` or `<folder>/<file>` instead; no network is used.
        token: token for the hub; no other host receives it.
    """

    hub: str = DEFAULT_HUB
    mirror: str | None = None
    folder: Path | None = None
    token: str | None = None

    @classmethod
    def from_environment(cls, mirror: str | None, folder: Path | None) -> DownloadSource:
        """Return a source with the hub and the token that HF_ENDPOINT and HF_TOKEN name."""
        return cls(os.environ.get("HF_ENDPOINT") or DEFAULT_HUB, mirror, folder, os.environ.get("HF_TOKEN") or None)

    def __post_init__(self) -> None:
        """Check the addresses."""
        for name, url in (("HF_ENDPOINT", self.hub), ("--mirror", self.mirror)):
            if url is not None and urlsplit(url).scheme not in ("http", "https"):
                raise InvalidInput(f"{name} is '{url}'; it must begin with https:// or http://")

    def locate(self, chosen: Chosen, file: WeightFile) -> str | HubFile:
        """Return the URL of a file, or its place on the Hub."""
        if self.mirror is not None:
            return f"{self.mirror.rstrip('/')}/{chosen.checkpoint.name}/{file.path}"
        variant = chosen.variant
        if file.url is not None or variant.repository is None:
            return variant.url(file)
        return HubFile(variant.repository, variant.revision, file.path, self.hub.rstrip("/"), self.token)


@dataclass(frozen=True)
class Fetcher:
    """Fetches checkpoints.

    Args:
        weights: the weights folder.
        source: the source of files.
        progress: shows one bar for each file.
        retry: policy of further tries.
        free: function from a folder to the free bytes of its file system.
    """

    weights: Path
    source: DownloadSource
    progress: Progress
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    free: FreeBytes = free_bytes

    def fetch(self, wanted: Sequence[Chosen]) -> list[str]:
        """Fetch the files that are missing; files that are there are compared with the catalogue and left alone.

        Returns:
            a sentence about each file.

        Raises:
            InvalidInput: the source does not have a file, or it does not fit on the disk.
            ContractMismatch: a file is not the published one; what was downloaded of it is removed.
            Busy: a server does not deliver now.
        """
        missing: list[tuple[Chosen, WeightFile]] = []
        sentences = []
        for chosen, file in ((each, file) for each in wanted for file in each.variant.files):
            path = self._path(chosen, file)
            if not path.is_file():
                missing.append((chosen, file))
                continue
            self._check_own(path, file)
            sentences.append(f"{path}: there already, {_known(file)}")
        needed = sum(bytes_left(self._path(chosen, file), file) for chosen, file in missing)
        remedy = "make room, or name another folder with --weights"
        check_room("the download needs about", needed, self.weights, free=self.free, remedy=remedy)
        return sentences + [self._fetch(chosen, file) for chosen, file in missing]

    def _path(self, chosen: Chosen, file: WeightFile) -> Path:
        return self.weights / chosen.checkpoint.name / file.path

    def _check_own(self, path: Path, file: WeightFile) -> None:
        try:
            check(path, file)
        except ContractMismatch as error:
            raise ContractMismatch(
                f"{error}; remove '{path}' to have it fetched, or name another folder with --weights"
            ) from None

    def _fetch(self, chosen: Chosen, file: WeightFile) -> str:
        path = self._path(chosen, file)
        part = part_file(path)
        part.parent.mkdir(parents=True, exist_ok=True)
        sha256 = None
        if self.source.folder is not None:
            url = self._copy(self.source.folder, chosen, file, part)
        else:
            place = self.source.locate(chosen, file)
            url, sha256 = str(place), self._download(place, part)
        against = _known(file)
        if file.sha256 is None and sha256 is not None:
            against = "the SHA-256 that the Hub states"
            file = replace(file, sha256=sha256)
        try:
            check(part, file)
        except ContractMismatch as error:
            discard(part)
            raise ContractMismatch(
                f"what came from {url} is not the published file: {error}; it was removed: run this again, and name "
                "another source with --mirror or --from if it stays so"
            ) from None
        self._note(path, part, url, None if file.sha256 is None else against)
        part.replace(path)
        version_file(part).unlink(missing_ok=True)
        return f"{path}: fetched, {against if file.sha256 is None else f'agrees with {against}'}"

    def _download(self, place: str | HubFile, part: Path) -> str | None:
        task = self.progress.add_task(part.stem, total=None)

        def report(done: int, total: int | None) -> None:
            self.progress.update(task, completed=done, total=total)

        return Download(place, part, self.retry, report, self.free).run()

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
        """Keep a receipt, by which `verify` finds changes in a file without a published checksum."""
        receipts = read_receipts(self.weights)
        receipts[path.relative_to(self.weights).as_posix()] = {
            "url": url,
            "size_bytes": part.stat().st_size,
            "sha256": sha256_of(part),
            "checked_against": against,
        }
        (self.weights / RECEIPTS).write_text(json.dumps(receipts, indent=1) + "\n")


def _known(file: WeightFile) -> str:
    if file.sha256 is None:
        return "no SHA-256 is published for it"
    digits = len(file.sha256)
    return "the published SHA-256" if digits == SHA256_DIGITS else f"the {digits} published digits of its SHA-256"
