"""Compare files with the catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from respin.errors import ContractMismatch
from respin.model_set import sha256_of
from respin_export.weights.catalogue import CATALOGUE, SHA256_DIGITS, Chosen, PublishedCheckpoint, WeightFile

RECEIPTS = "fetched.json"
"""File in the weights folder with the source and SHA-256 of each file that `respin weights fetch` wrote."""

SYNTHESIZED = "synthesized.json"
"""File in a weights folder of `respin weights synthesize` with its options."""


ROUGHLY = 0.05
"""Allowed error of a size that is not known exactly, as a share of it."""


@dataclass(frozen=True)
class FileFinding:
    """The result of comparing one file.

    Args:
        name: "<checkpoint>:<variant>".
        path: path within the weights folder.
        verdict: "ok" = a checksum agrees; "unproved" = nothing disagrees, but no checksum is known; "wrong"; "missing".
        reason: sentence for people.
    """

    name: str
    path: str
    verdict: str
    reason: str


def check(path: Path, file: WeightFile) -> None:
    """Compare a file with the catalogue.

    Args:
        path: path of the file, which exists.
        file: entry of the catalogue.

    Raises:
        ContractMismatch: its size or SHA-256 differs.
    """
    size, published = path.stat().st_size, file.size_bytes
    tolerance = 0 if file.size_is_exact else ROUGHLY
    if published is not None and abs(size - published) > tolerance * published:
        about = "" if file.size_is_exact else "about "
        raise ContractMismatch(f"'{path.name}' has {size} bytes, the published file {about}{published}")
    if file.sha256 is not None and not (sha256 := sha256_of(path)).startswith(file.sha256):
        raise ContractMismatch(
            f"the SHA-256 of '{path.name}' begins {sha256[:16]}, that of the published file {file.sha256[:16]}"
        )


def findings(weights: Path) -> Iterator[FileFinding]:
    """Compare the files of a weights folder with the catalogue; of each checkpoint, those of `found_variants`."""
    receipts = read_receipts(weights)
    for checkpoint in CATALOGUE.values():
        for chosen in found_variants(checkpoint, weights):
            for file in chosen.variant.files:
                yield _finding(weights, chosen, file, receipts)


def found_variants(checkpoint: PublishedCheckpoint, weights: Path) -> list[Chosen]:
    """Return the variants of which a weights folder has at least one file of weights, or else the first variant."""
    folder = weights / checkpoint.name
    found = [
        variant
        for variant in checkpoint.variants
        if any((folder / file.path).is_file() for file in variant.files if file.is_weights)
    ]
    return [Chosen(checkpoint, variant) for variant in found or checkpoint.variants[:1]]


def _finding(weights: Path, chosen: Chosen, file: WeightFile, receipts: Mapping[str, Any]) -> FileFinding:
    relative = f"{chosen.checkpoint.name}/{file.path}"
    path = weights / relative
    if not path.is_file():
        return FileFinding(chosen.name, relative, "missing", f"fetch it with `respin weights fetch {chosen.name}`")
    try:
        check(path, file)
    except ContractMismatch as error:
        return FileFinding(chosen.name, relative, "wrong", str(error))
    if file.sha256 is not None:
        return FileFinding(chosen.name, relative, "ok", _what_agrees(file))
    return _against_receipt(chosen, relative, path, receipts.get(relative))


def _what_agrees(file: WeightFile) -> str:
    digits = len(file.sha256 or "")
    return "SHA-256 agrees" if digits == SHA256_DIGITS else f"the {digits} published digits of its SHA-256 agree"


def _against_receipt(chosen: Chosen, relative: str, path: Path, receipt: Mapping[str, Any] | None) -> FileFinding:
    """Compare a file without a checksum in the catalogue with its receipt."""
    unknown = "no SHA-256 is published"
    if receipt is None:
        return FileFinding(chosen.name, relative, "unproved", f"{unknown}; {path.stat().st_size} bytes are there")
    if sha256_of(path) != receipt["sha256"]:
        return FileFinding(chosen.name, relative, "wrong", "it has changed since it was fetched")
    if receipt["checked_against"] is not None:
        return FileFinding(chosen.name, relative, "ok", f"SHA-256 agrees with {receipt['checked_against']}")
    return FileFinding(chosen.name, relative, "unproved", f"{unknown}; it has not changed since it was fetched")


def part_file(path: Path) -> Path:
    """Return the file that a download is written to until it is complete and checked."""
    return path.with_name(f"{path.name}.part")


def bytes_left(path: Path, file: WeightFile) -> int:
    """Return the bytes of a file that are still to be fetched, as far as its size is known."""
    part = part_file(path)
    kept = part.stat().st_size if part.is_file() else 0
    return 0 if path.is_file() else max(0, (file.size_bytes or 0) - kept)


def read_receipts(weights: Path) -> dict[str, Any]:
    """Read the receipts of a weights folder: url, size_bytes, sha256 and checked_against by path.

    Raises:
        ContractMismatch: the file of receipts cannot be read.
    """
    path = weights / RECEIPTS
    if not path.is_file():
        return {}
    try:
        receipts = json.loads(path.read_text())
    except ValueError as error:
        raise ContractMismatch(f"'{path}' is not JSON ({error}); remove it") from None
    if not isinstance(receipts, dict):
        raise ContractMismatch(f"'{path}' does not hold receipts; remove it")
    return receipts
