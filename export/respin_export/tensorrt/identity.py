"""The identity of an engine plan, its sources and targets, and its record in the manifest of a set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from respin.errors import ContractMismatch
from respin.model_set import ModelSet, NetworkFile
from respin_export.optimization_profile import InputShape

_KEY_DIGITS = 12

_PART_NAMES = {
    "network": "network",
    "weights_sha256": "graph and weights",
    "precision": "precision",
    "shapes": "shapes",
    "flavour": "TensorRT flavour",
    "version": "TensorRT version",
    "capabilities": "compute capabilities",
}


@dataclass(frozen=True)
class EngineIdentity:
    """Everything that an engine plan depends on; a difference in any part makes another engine plan.

    Args:
        network: name of the network.
        weights_sha256: hash of the graph and the weights beside it, from `weights_sha256`.
        precision: number format of the graph, "fp32" or "fp16".
        shapes: shapes of the optimization profile, from `shapes_text`.
        flavour: flavour of TensorRT.
        version: version of TensorRT.
        capabilities: compute capabilities, joined by commas; empty = the library's default.
    """

    network: str
    weights_sha256: str
    precision: str
    shapes: str
    flavour: str
    version: str
    capabilities: str

    @property
    def key(self) -> str:
        """Short hash of all parts, for file names."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:_KEY_DIGITS]

    @property
    def file_name(self) -> str:
        """Name of the engine's file."""
        return f"model-{self.key}.plan"

    def differences(self, wanted: EngineIdentity) -> list[str]:
        """Return a clause for each part in which this engine plan differs from the wanted one."""
        return [
            f"{_PART_NAMES[each.name]} {_brief(ours, theirs)}, wanted {_brief(theirs, ours)}"
            for each in fields(self)
            if (ours := getattr(self, each.name)) != (theirs := getattr(wanted, each.name))
        ]


def _brief(part: str, other: str) -> str:
    """Shorten a part to its difference from another: the beginning of a SHA-256, the shapes that differ."""
    if len(part) == 64:
        return part[:_KEY_DIGITS]
    known = other.split("; ")
    return f"'{'; '.join(each for each in part.split('; ') if each not in known) or 'default'}'"


@dataclass(frozen=True)
class EngineRecord:
    """The record of an engine's file, in `origin["engines"]` of its set's manifest.

    Args:
        identity: sources and targets of the engine plan.
        sha256: hash of the file, in hex.
        size_bytes: size of the file.
        build_s: seconds from parsing to the written file.
        peak_rss_bytes: peak memory of the building process.
        scratch_bytes: GPU memory of one execution context beside the weights, at the greatest shapes; None = unknown.
    """

    identity: EngineIdentity
    sha256: str
    size_bytes: int
    build_s: float
    peak_rss_bytes: int
    scratch_bytes: int | None = None


def engine_records(made: ModelSet) -> dict[str, EngineRecord]:
    """Return the records in a manifest by network.

    Raises:
        ContractMismatch: this version cannot read them.
    """
    try:
        return {
            name: EngineRecord(EngineIdentity(**raw["identity"]), **{k: v for k, v in raw.items() if k != "identity"})
            for name, raw in made.origin["engines"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ContractMismatch(
            f"the manifest of '{made.name}' does not say what its plans were built of ({error!r}); delete that set "
            "and build the engine plans again"
        ) from None


def weights_sha256(files: Iterable[NetworkFile]) -> str:
    """Return one SHA-256 for a network's graph and the weights beside it, in hex, independent of their folder."""
    lines = (f"{Path(file.path).name} {file.sha256}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def shapes_text(profile: Mapping[str, tuple[InputShape, InputShape, InputShape]]) -> str:
    """Write an optimization profile in one line, e.g. "image 1x3x32x32 1x3x256x256 4x3x512x512; ..."."""
    return "; ".join(
        " ".join([name, *("x".join(map(str, shape)) for shape in shapes)]) for name, shapes in profile.items()
    )
