"""What a set is exported from: the weights folder, with a record of every checkpoint in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from respin.model_set import Sizes, sha256_of
from respin_export.checkpoints import CHECKPOINT_OF, find_checkpoint, load_network, load_sizes
from respin_export.weights.catalogue import CATALOGUE

if TYPE_CHECKING:
    from torch import nn

VAE_NETWORKS = ("vae_encoder", "vae_decoder")


class WeightSource(Protocol):
    """Where networks come from. It is pickled, so that other processes can load from it."""

    def checkpoint(self, network: str) -> str:
        """Name of the checkpoint that holds a network."""

    def find(self, network: str) -> Path:
        """The file or folder of its checkpoint; a RespinError says what is missing."""

    def load(self, network: str) -> nn.Module:
        """The network with its weights; a RespinError says what is wrong with them."""

    def note(self, network: str) -> str | None:
        """A sentence about its weights that belongs beside it."""

    def about(self, checkpoint: str) -> dict[str, Any]:
        """What to record of a checkpoint beside its files: who publishes it, under which licence."""

    @property
    def settings(self) -> dict[str, Any]:
        """How the weights are read, where they could be read otherwise."""


@dataclass(frozen=True)
class PublishedWeights:
    """A weights folder, as `respin weights` makes it.

    Args:
        folder: one sub-folder a checkpoint.
        raw_weights: take the last weights where there is also a moving average.
    """

    folder: Path
    raw_weights: bool = False

    @property
    def sizes(self) -> Sizes:
        """The sizes that the weights were trained for."""
        return load_sizes(self.folder)

    @property
    def settings(self) -> dict[str, Any]:
        """Whether the moving average was left aside."""
        return {"raw_weights": self.raw_weights}

    def checkpoint(self, network: str) -> str:
        """Name of the checkpoint that holds a network."""
        return CHECKPOINT_OF[network]

    def find(self, network: str) -> Path:
        """Its file or folder.

        Raises:
            InvalidInput: it is not there.
        """
        return find_checkpoint(CHECKPOINT_OF[network], self.folder)

    def load(self, network: str) -> nn.Module:
        """The network with its weights.

        Raises:
            InvalidInput: the checkpoint is not what it should be.
        """
        return load_network(network, self.folder, raw_weights=self.raw_weights)

    def about(self, checkpoint: str) -> dict[str, Any]:
        """The project that publishes a checkpoint, and its licence."""
        return {"source": CATALOGUE[checkpoint].project, "licence": CATALOGUE[checkpoint].licence}

    def note(self, network: str) -> str | None:
        """Of a VAE, whether inpainting's has the same weights as Zero123's, which both use here."""
        if network not in VAE_NETWORKS:
            return None
        from respin_export.shared_vae import vae_note  # noqa: PLC0415 (torch)

        return vae_note(self.folder)


def checkpoint_record(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest says of a checkpoint's files.

    Args:
        path: of the file or folder.
        known: an earlier record; where sizes and times have not changed, neither has its SHA-256.

    Returns:
        file, sha256 (of a folder: over the lines of `sha256sum` of its files), size_bytes, modified_ns (the time of the
        youngest file), and config_sha256 of a config.json beside a file, from which sizes may be read.
    """
    visible = [file for file in sorted(path.rglob("*")) if not _hidden(file.relative_to(path))]
    files = [path] if path.is_file() else [file for file in visible if file.is_file()]
    stats = [file.stat() for file in files]
    seen = {
        "file": path.name,
        "size_bytes": sum(stat.st_size for stat in stats),
        "modified_ns": max((stat.st_mtime_ns for stat in stats), default=0),
    }
    unchanged = all(known.get(key) == value for key, value in seen.items())
    record = {**seen, "sha256": known["sha256"] if unchanged else _sha256(path, files)}
    config = path.with_name("config.json")
    return {**record, "config_sha256": sha256_of(config)} if path.is_file() and config.is_file() else record


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _sha256(path: Path, files: list[Path]) -> str:
    if path.is_file():
        return sha256_of(path)
    lines = [f"{sha256_of(file)}  {file.relative_to(path).as_posix()}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
