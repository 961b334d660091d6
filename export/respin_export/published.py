"""The weights that a set is exported from, and the records of their checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from respin.model_set import Sizes, sha256_of
from respin_export.checkpoints import CHECKPOINT_OF, find_checkpoint, load_network, load_sizes
from respin_export.weights.catalogue import CATALOGUE
from respin_export.weights.verify import SYNTHESIZED

if TYPE_CHECKING:
    from torch import nn

UNGATED_IF_RANDOM = ("grounding_dino",)
"""Networks whose random weights pass no comparison of an export: candidates that are nearly equal swap their ranks."""

VAE_NETWORKS = ("vae_encoder", "vae_decoder")


@dataclass(frozen=True)
class PublishedWeights:
    """A weights folder in the layout of `respin weights`. It is pickled, so that other processes can load from it.

    Args:
        folder: folder with a sub-folder for each checkpoint.
        raw_weights: load the last weights even if there is a moving average.
    """

    folder: Path
    raw_weights: bool = False

    @property
    def sizes(self) -> Sizes:
        """Image sizes of the weights."""
        return load_sizes(self.folder)

    @property
    def settings(self) -> dict[str, Any]:
        """Options of reading the weights, for the manifest."""
        return {"raw_weights": self.raw_weights}

    @property
    def ungated(self) -> tuple[str, ...]:
        """Networks whose exports are compared without a limit: those that random weights make incomparable."""
        return UNGATED_IF_RANDOM if (self.folder / SYNTHESIZED).is_file() else ()

    def checkpoint(self, network: str) -> str:
        """Return the name of the checkpoint that holds a network."""
        return CHECKPOINT_OF[network]

    def find(self, network: str) -> Path:
        """Return the file or folder of a network's checkpoint.

        Raises:
            InvalidInput: it is not there.
        """
        return find_checkpoint(CHECKPOINT_OF[network], self.folder)

    def load(self, network: str) -> nn.Module:
        """Return a network with its weights.

        Raises:
            InvalidInput: the file is not this checkpoint.
        """
        return load_network(network, self.folder, raw_weights=self.raw_weights)

    def about(self, checkpoint: str) -> dict[str, Any]:
        """Return the publisher of a checkpoint, and its licence."""
        return {"source": CATALOGUE[checkpoint].project, "licence": CATALOGUE[checkpoint].licence}

    def note(self, network: str) -> str | None:
        """Return whether inpainting's VAE has the weights of Zero123's, which serves both; None for other networks."""
        if network not in VAE_NETWORKS:
            return None
        from respin_export.shared_vae import vae_note  # noqa: PLC0415 (torch)

        return vae_note(self.folder)


def checkpoint_record(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest's record of a checkpoint's files.

    Args:
        path: path of the file or folder.
        known: an earlier record; its SHA-256 is reused if sizes and times have not changed.

    Returns:
        file, sha256 (for a folder, of the output of `sha256sum` on its files), size_bytes, modified_ns (of the newest
        file), and config_sha256 of a config.json beside a file, which may hold sizes.
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
