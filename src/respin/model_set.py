"""A set: one complete choice of weights for the ten networks, and the sizes that it fixes.

On disk a set is a folder: `manifest.json` and `<network>/<file>` for each network. Everything above the contracts
reads what differs between sets from the manifest, so that nothing else can tell them apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from respin.errors import ContractMismatch
from respin.specs import Axis, ModelSpec

MANIFEST = "manifest.json"

_FOR_PHOTOS = "for photos export the published weights (respin weights fetch, respin export)"

_UNTRAINED = {"grounding_dino": "send a box", "clip_text": "prompts change nothing"}
"""What a caller can do about a network without training."""


@dataclass(frozen=True)
class Sizes:
    """What a set fixes about its images, in pixels but for the share.

    Args:
        sam_side: side of SAM's square input; 1024 for the published weights.
        view_side: side of Zero123's square view; 256.
        inpaint_side: longest side of what the inpainting works on; 512.
        detection_short_side: short side of GroundingDINO's input; 800.
        detection_long_side: its long side at most; 1333.
        object_share: share of the view's side that the object's longer side fills; 0.75 (One-2-3-45).
    """

    sam_side: int = 1024
    view_side: int = 256
    inpaint_side: int = 512
    detection_short_side: int = 800
    detection_long_side: int = 1333
    object_share: float = 0.75

    def fixed_length(self, axis: Axis) -> int | None:
        """The length that the set gives an axis, or None where the axis stays free."""
        if axis.set_size is None:
            return None
        return int(getattr(self, axis.set_size)) // axis.ratio

    def longest(self, axis: Axis) -> int:
        """The greatest length that a job with this set gives a free axis, as the axis's multiples go."""
        if not axis.set_limits:
            return axis.largest
        limit = max(int(getattr(self, size)) for size in axis.set_limits) // axis.ratio
        return min(axis.largest, -(-limit // axis.multiple_of) * axis.multiple_of)

    def shape(self, lengths: tuple[int | Axis, ...]) -> tuple[int | Axis, ...]:
        """A contract's shape with the axes that the set fixes replaced by their lengths."""
        return tuple(
            fixed if isinstance(length, Axis) and (fixed := self.fixed_length(length)) is not None else length
            for length in lengths
        )


@dataclass(frozen=True)
class NetworkFile:
    """A file of a network: path within the set's folder, SHA-256 in hex, size in bytes."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ModelSet:
    """The manifest of a set.

    Args:
        name: "mini", "full", ...
        precision: in which the graphs compute, "fp32" or "fp16"; the contracts' tensors are float32 either way.
        sizes: what the set fixes.
        networks: the files of each network by name: the graph, then what lies beside it (ONNX keeps more than 2 GB of
            weights apart).
        origin: where the weights come from, and the versions of the tools that made the files.
    """

    name: str
    precision: str
    sizes: Sizes
    networks: Mapping[str, tuple[NetworkFile, ...]]
    origin: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> ModelSet:
        """Read a set's manifest.

        Raises:
            ContractMismatch: there is none, or it is not of this version's form.
        """
        path = folder / MANIFEST
        try:
            raw = json.loads(path.read_text())
            return cls(
                name=raw["name"],
                precision=raw["precision"],
                sizes=Sizes(**raw["sizes"]),
                networks={
                    name: tuple(NetworkFile(**record) for record in records)
                    for name, records in raw["networks"].items()
                },
                origin=_mapping(raw.get("origin")),
            )
        except FileNotFoundError:
            raise ContractMismatch(
                f"no {MANIFEST} in '{folder.name}'; name the folder of a set, e.g. models/mini"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ContractMismatch(
                f"{MANIFEST} of '{folder.name}' cannot be read ({error!r}); export the set again"
            ) from None

    def save(self, folder: Path) -> None:
        """Write the manifest into the set's folder."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=1) + "\n")

    def file(self, folder: Path, spec: ModelSpec) -> Path:
        """The path of a network's graph.

        Raises:
            ContractMismatch: the set lacks the network.
        """
        if spec.name not in self.networks:
            raise ContractMismatch(f"set '{self.name}' has no {spec.name}; it has {', '.join(self.networks)}")
        return folder / self.networks[spec.name][0].path

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for callers about what the set cannot do; empty unless `origin` says something of the kind.

        `origin["knows"]` is the one kind of picture that the networks were trained on, e.g. "rendered scenes";
        `origin["training"][network]["trained"]` is false for a network with random weights.
        """
        notes = []
        knows, training = self.origin.get("knows"), _mapping(self.origin.get("training"))
        if knows and isinstance(knows, str):
            notes.append(f"{self.name}: trained on {knows}; {_FOR_PHOTOS}")
        for name in self.networks:
            if _mapping(training.get(name)).get("trained") is False:
                notes.append(f"{name} of this set is not trained: {_UNTRAINED.get(name, 'its output means nothing')}")
        return tuple(notes)

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(record.size_bytes for records in self.networks.values() for record in records)

    def verify(self, folder: Path) -> None:
        """Compare every file with its recorded size and SHA-256.

        Raises:
            ContractMismatch: a file is missing or not the one that the manifest speaks of.
        """
        for name, record in ((name, record) for name, records in self.networks.items() for record in records):
            path = folder / record.path
            if not path.is_file():
                raise ContractMismatch(f"set '{self.name}': {record.path} is missing; export {name} again")
            if path.stat().st_size != record.size_bytes or sha256_of(path) != record.sha256:
                raise ContractMismatch(
                    f"set '{self.name}': {record.path} is not the file that the manifest records; export {name} again"
                )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def records_of(folder: Path, graph: Path) -> tuple[NetworkFile, ...]:
    """The manifest's records of a network: its graph, which lies in the set's folder, and the weights beside it.

    Files of weights are known by their names, which begin with the graph's: model.onnx, model.onnx.data.
    """
    return tuple(
        NetworkFile(path.relative_to(folder).as_posix(), sha256_of(path), path.stat().st_size)
        for path in sorted(graph.parent.glob(f"{graph.name}*"))
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hex, read piece by piece."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(2**20):
            digest.update(piece)
        return digest.hexdigest()
