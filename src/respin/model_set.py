"""A set of models: one complete choice of weights for the ten networks, and the sizes that it fixes.

On disk a set is a folder: `manifest.json` and `<network>/<file>` for each network. Code reads the differences
between sets from the manifest only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from respin.contracts.networks import DETECTION_HEIGHT, IMAGE_HEIGHT, NETWORKS, SAM_SIDE, VIEW_SIDE
from respin.errors import ContractMismatch
from respin.json_file import read_json_object
from respin.specs import Axis, ModelSpec

MANIFEST = "manifest.json"

_SIZES = {
    "sam_side": SAM_SIDE,
    "view_side": VIEW_SIDE,
    "inpaint_side": Axis("inpaint_side", IMAGE_HEIGHT.smallest, IMAGE_HEIGHT.usual, IMAGE_HEIGHT.largest),
    "detection_short_side": DETECTION_HEIGHT,
    "detection_long_side": DETECTION_HEIGHT,
}
"""Axis of each size, whose lengths are the values that the size may have."""

_FOR_PHOTOS = "for photos export the published weights (respin weights fetch, respin export)"

_UNTRAINED = {"grounding_dino": "send a box", "clip_text": "prompts change nothing"}
"""Advice for callers, by network without training."""


@dataclass(frozen=True)
class Sizes:
    """The image sizes that a set fixes, in pixels, and the share of the object.

    Args:
        sam_side: side of SAM's square input; 1024 for the published weights.
        view_side: side of Zero123's square view; 256.
        inpaint_side: longest side of the crop that is inpainted; 512.
        detection_short_side: short side of GroundingDINO's input; 800.
        detection_long_side: longest side of GroundingDINO's input; 1333.
        object_share: share of the view's side that the object's longer side fills; 0.75 (One-2-3-45).
    """

    sam_side: int = 1024
    view_side: int = 256
    inpaint_side: int = 512
    detection_short_side: int = 800
    detection_long_side: int = 1333
    object_share: float = 0.75

    @classmethod
    def from_json(cls, raw: Any) -> Sizes:
        """Read sizes from a manifest; those left out are the published ones.

        Raises:
            ValueError: one is unknown, not a number, or not one that the contracts allow.
        """
        if not isinstance(raw, Mapping):
            raise ValueError("'sizes' is missing, or no object")
        known = [each.name for each in fields(cls)]
        if unknown := sorted(set(raw) - set(known)):
            raise ValueError(f"there is no size {unknown[0][:60]!r}, only {', '.join(known)}")
        for name, value in raw.items():
            if name == "object_share":
                if isinstance(value, bool) or not isinstance(value, int | float) or not 0.01 <= value <= 1:
                    raise ValueError("'object_share' must be a number from 0.01 to 1")
            elif not _is_integer(value) or not _SIZES[name].allows(value):
                raise ValueError(f"'{name}' must be {_SIZES[name].range_text}")
        sizes = cls(**raw)
        if sizes.detection_short_side > sizes.detection_long_side:
            raise ValueError("'detection_short_side' is longer than 'detection_long_side'")
        return sizes

    def fixed_length(self, axis: Axis) -> int | None:
        """Return the length that the set gives an axis, or None if the axis stays free."""
        if axis.set_size is None:
            return None
        return int(getattr(self, axis.set_size)) // axis.ratio

    def longest(self, axis: Axis) -> int:
        """Return the greatest length of a free axis in jobs with this set, a multiple of the axis's step."""
        if not axis.set_limits:
            return axis.largest
        limit = max(int(getattr(self, size)) for size in axis.set_limits) // axis.ratio
        return min(axis.largest, -(-limit // axis.multiple_of) * axis.multiple_of)

    def shape(self, lengths: tuple[int | Axis, ...]) -> tuple[int | Axis, ...]:
        """Return a contract's shape with the axes that the set fixes replaced by their lengths."""
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
        precision: number format of the graphs' arithmetic, "fp32" or "fp16"; inputs and outputs are float32.
        sizes: image sizes that the set fixes.
        networks: the files of each network by name: the graph, then its external data (ONNX files hold 2 GB at most).
        origin: sources of the weights, and versions of the tools that made the files.
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
            ContractMismatch: there is none, or this version cannot read it.
        """
        try:
            raw = read_json_object(folder / MANIFEST)
            return cls(
                name=_text(raw, "name", r"[\w .+-]{1,100}", "a short name"),
                precision=_text(raw, "precision", r"\w{1,20}", "a short name"),
                sizes=Sizes.from_json(raw.get("sizes")),
                networks={name: _records(name, records) for name, records in _object(raw, "networks").items()},
                origin=mapping_of(raw.get("origin")),
            )
        except (FileNotFoundError, NotADirectoryError):
            raise ContractMismatch(
                f"no {MANIFEST} in '{folder.name}'; name the folder of a set, e.g. models/mini"
            ) from None
        except OSError as error:
            raise ContractMismatch(f"{MANIFEST} of '{folder.name}' cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise ContractMismatch(
                f"{MANIFEST} of '{folder.name}' cannot be read ({error}); export the set again"
            ) from None

    def save(self, folder: Path) -> None:
        """Write the manifest into the set's folder."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=1) + "\n")

    def file(self, folder: Path, spec: ModelSpec) -> Path:
        """Return the path of a network's graph.

        Raises:
            ContractMismatch: the set lacks the network.
        """
        return self.files(folder, spec)[0]

    def files(self, folder: Path, spec: ModelSpec) -> tuple[Path, ...]:
        """Return the paths of a network's files: its graph, then the weights beside it.

        Raises:
            ContractMismatch: the set lacks the network, or a file is a link that leads out of the set's folder.
        """
        if spec.name not in self.networks:
            raise ContractMismatch(f"set '{self.name}' has no {spec.name}; it has {', '.join(self.networks)}")
        return tuple(self._inside(folder, record) for record in self.networks[spec.name])

    def _inside(self, folder: Path, record: NetworkFile) -> Path:
        path = folder / record.path
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ContractMismatch(
                f"set '{self.name}': {record.path} leads out of the set's folder; put the file itself there"
            )
        return path

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for callers about the limits of the set, from its `origin`.

        `origin["knows"]` is the one kind of picture that the networks were trained on, e.g. "rendered scenes";
        `origin["training"][network]["trained"]` is false for a network with random weights, or that missed its targets.
        """
        notes = []
        knows, training = self.origin.get("knows"), mapping_of(self.origin.get("training"))
        if knows and isinstance(knows, str):
            notes.append(f"{self.name}: trained on {knows}; {_FOR_PHOTOS}")
        for name in self.networks:
            if mapping_of(training.get(name)).get("trained") is False:
                notes.append(f"{name} of this set is not trained: {_UNTRAINED.get(name, 'do not rely on its output')}")
        return tuple(notes)

    @property
    def size_bytes(self) -> int:
        """Size of all files together."""
        return sum(record.size_bytes for records in self.networks.values() for record in records)

    def verify(self, folder: Path) -> None:
        """Compare every file with its recorded size and SHA-256.

        Raises:
            ContractMismatch: a file is missing, not the one in the manifest, or outside the folder.
        """
        for name, record in ((name, record) for name, records in self.networks.items() for record in records):
            path = self._inside(folder, record)
            if not path.is_file():
                raise ContractMismatch(f"set '{self.name}': {record.path} is missing; export {name} again")
            if path.stat().st_size != record.size_bytes or sha256_of(path) != record.sha256:
                raise ContractMismatch(
                    f"set '{self.name}': {record.path} is not the file that the manifest records; export {name} again"
                )


_FILE_NAMES = re.compile(r"model\.onnx(\.data)?|model(-\w{1,64})?\.plan")
"""File names of a network: an ONNX graph, its external data, or an engine plan."""


def _records(network: str, records: Any) -> tuple[NetworkFile, ...]:
    """Read the records of one network.

    Raises:
        ValueError: there is no such network, or a file is not in the network's folder or has no name of a network's.
    """
    if network not in NETWORKS:
        raise ValueError(f"there is no network {network[:60]!r}")
    if not isinstance(records, list) or not records:
        raise ValueError(f"'networks.{network}' is no list of files")
    files = tuple(_record(network, record) for record in records)
    names = [file.path.rpartition("/")[2] for file in files]
    if names[0].endswith(".data") or len(set(names)) < len(names):
        raise ValueError(f"'networks.{network}' must be one graph and the weights beside it")
    return files


def _record(network: str, record: Any) -> NetworkFile:
    if not isinstance(record, dict) or record.keys() != {"path", "sha256", "size_bytes"}:
        raise ValueError(f"'networks.{network}' must hold objects of path, sha256 and size_bytes")
    folder, _, name = _text(record, "path", ".{1,200}", "a path").rpartition("/")
    if folder != network or not _FILE_NAMES.fullmatch(name):
        raise ValueError(f"a path of {network} is not '{network}/model.onnx', its .data file, or a .plan")
    size = record["size_bytes"]
    if not _is_integer(size) or size < 0:
        raise ValueError(f"a size of {network} is no number of bytes")
    return NetworkFile(record["path"], _text(record, "sha256", "[0-9a-f]{64}", "64 hexadecimal digits"), size)


def _text(values: Mapping[str, Any], name: str, pattern: str, wanted: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"'{name}' is missing, or not {wanted}")
    return value


def _object(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"'{name}' is missing, or no object")
    return value


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def mapping_of(value: Any) -> Mapping[str, Any]:
    """Return a value of `origin` that should be a mapping, or an empty mapping: `origin` is for people."""
    return value if isinstance(value, Mapping) else {}


def records_of(folder: Path, graph: Path) -> tuple[NetworkFile, ...]:
    """Return the manifest's records of a network: its graph, in the set's folder, and the weights beside it.

    Files of weights are known by their names, which begin with the graph's: model.onnx, model.onnx.data.
    """
    return tuple(
        NetworkFile(path.relative_to(folder).as_posix(), sha256_of(path), path.stat().st_size)
        for path in sorted(graph.parent.glob(f"{graph.name}*"))
    )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(2**20):
            digest.update(piece)
        return digest.hexdigest()
