"""The five published checkpoints: their publishers, files, sizes and checksums.

They are read from `catalogue.json`. Sizes and checksums are quoted, not measured here: `quoted_from` names the sources,
and what is left out is not published.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from respin.errors import InvalidInput

SHA256_DIGITS = 64
"""Number of hexadecimal digits of a SHA-256."""

DEFAULT_HUB = "https://huggingface.co"
"""Default endpoint of Hugging Face repositories; HF_ENDPOINT overrides it."""


@dataclass(frozen=True)
class WeightFile:
    """One file of a checkpoint.

    Args:
        path: path within the checkpoint's folder.
        size_bytes: size of the file; None = unknown.
        size_is_exact: False = the size is computed from the number of values, or rounded by its source.
        sha256: checksum in hex, or its first digits if no more are published; None = unknown.
        url: address of the file; None = it is in the variant's Hugging Face repository, under the same path.
    """

    path: str
    size_bytes: int | None = None
    size_is_exact: bool = True
    sha256: str | None = None
    url: str | None = None

    @property
    def is_weights(self) -> bool:
        """Whether the file holds weights, not a configuration."""
        return not self.path.endswith(".json")


@dataclass(frozen=True)
class Variant:
    """One form in which a checkpoint is published.

    Args:
        name: short name.
        summary: description in a few words.
        files: the files that loading needs.
        quoted_from: sources of the sizes and checksums.
        repository: owner/name on the Hugging Face Hub; None = every file has its own address.
        revision: commit of the repository.
    """

    name: str
    summary: str
    files: tuple[WeightFile, ...]
    quoted_from: str
    repository: str | None = None
    revision: str = "main"

    def url(self, file: WeightFile, hub: str = DEFAULT_HUB) -> str:
        """Return the address of a file of the variant."""
        return file.url or f"{hub}/{self.repository}/resolve/{self.revision}/{file.path}"


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A published checkpoint; its name is that of its folder in the weights folder."""

    name: str
    project: str
    licence: str
    variants: tuple[Variant, ...] = field(repr=False)


@dataclass(frozen=True)
class Chosen:
    """A checkpoint and the chosen variant."""

    checkpoint: PublishedCheckpoint
    variant: Variant

    @property
    def name(self) -> str:
        """Name on the command line, "checkpoint:variant"."""
        return f"{self.checkpoint.name}:{self.variant.name}"


def choose(name: str) -> Chosen:
    """Return the checkpoint and variant for 'name:variant', or the first variant for 'name'.

    Raises:
        InvalidInput: there is no such checkpoint, or no such variant of it.
    """
    checkpoint_name, _, variant_name = name.partition(":")
    if checkpoint_name not in CATALOGUE:
        raise InvalidInput(f"no checkpoint '{checkpoint_name}'; there are {', '.join(CATALOGUE)}")
    checkpoint = CATALOGUE[checkpoint_name]
    by_name = {variant.name: variant for variant in checkpoint.variants}
    if variant_name and variant_name not in by_name:
        raise InvalidInput(f"{checkpoint_name} has no variant '{variant_name}'; it has {', '.join(by_name)}")
    return Chosen(checkpoint, by_name[variant_name] if variant_name else checkpoint.variants[0])


def _read() -> dict[str, PublishedCheckpoint]:
    text = files("respin_export.weights").joinpath("catalogue.json").read_text()
    return {
        name: PublishedCheckpoint(name, raw["project"], raw["licence"], tuple(map(_variant, raw["variants"])))
        for name, raw in json.loads(text).items()
    }


def _variant(raw: dict[str, Any]) -> Variant:
    return Variant(**{**raw, "files": tuple(WeightFile(**file) for file in raw["files"])})


CATALOGUE = _read()
"""The published checkpoints by name."""
