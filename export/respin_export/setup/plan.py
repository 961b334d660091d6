"""What a setup makes, where, and the command that serves it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from respin.contracts import NETWORKS
from respin.errors import InvalidInput
from respin.model_set import MANIFEST, ModelSet
from respin.runtimes import Device, Precision
from respin_export.weights.catalogue import CATALOGUE, Chosen
from respin_export.weights.verify import SYNTHESIZED, bytes_left, found_variants

ServedRuntime = Literal["onnxruntime", "tensorrt", "torch"]

DEFAULT_RUNTIMES: dict[Device, ServedRuntime] = {"cpu": "onnxruntime", "cuda": "torch"}
"""What runs the networks by default, by device: the fastest measured that needs no plans (docs/benchmarks.md)."""

GRAPHS_MIB = {"fp32": 10456, "fp16": 5238}
"""Size of the ONNX files of all published networks by precision, MiB (docs/parity.md, full size)."""

ENGINES_MIB = 5375
"""Size of the FP16 engine plans of all published networks, MiB (docs/parity.md, full size)."""

DRAFT_MIB = 3300
"""Size of the largest file, which is written beside the files that are in place, MiB."""


@dataclass(frozen=True)
class SetupPlan:
    """What a setup makes.

    Args:
        weights: the weights folder.
        models: folder of the sets.
        device: where the networks will run.
        runtime: what will run them.
        precision: number format of the ONNX files; None = fp16 for CUDA, fp32 for the CPU.
        flavour: the TensorRT that builds the engine plans, a key of `FLAVOURS`; None without plans.

    Raises:
        InvalidInput: the runtime does not run on the device, or has no use for the precision.
    """

    weights: Path
    models: Path
    device: Device
    runtime: ServedRuntime
    precision: Precision | None = None
    flavour: str | None = None

    def __post_init__(self) -> None:
        """Check that the choices go together."""
        if self.runtime == "tensorrt" and self.device == "cpu":
            raise InvalidInput("TensorRT runs on GPUs only; give --device cuda, or another --runtime")
        if self.runtime == "torch" and self.precision is not None:
            raise InvalidInput("--runtime torch loads the checkpoints and exports nothing; leave out --precision")

    @property
    def chosen_precision(self) -> Precision:
        """Number format of the ONNX files."""
        return self.precision or ("fp16" if self.device == "cuda" else "fp32")

    @property
    def set_name(self) -> str:
        """Name of the set of ONNX files, as `respin export` gives it."""
        return "full" if self.chosen_precision == "fp32" else f"full-{self.chosen_precision}"

    @property
    def graphs(self) -> Path | None:
        """Folder of the set of ONNX files; None if the runtime needs none."""
        return None if self.runtime == "torch" else self.models / self.set_name

    @property
    def engines(self) -> Path | None:
        """Folder of the set of engine plans, as `respin engines` names it; None if the runtime needs none."""
        return self.models / f"{self.set_name}-{self.flavour}" if self.runtime == "tensorrt" else None

    @property
    def served(self) -> Path:
        """Folder that the server loads."""
        return self.engines or self.graphs or self.weights

    @property
    def serve_command(self) -> str:
        """The shell command that serves what the setup made."""
        words = ["respin", "serve"]
        if self.runtime == "torch":
            words += ["--weights", str(self.weights)]
        else:
            words += ["--models", str(self.served)]
        if (self.device, self.runtime) != ("cpu", "onnxruntime"):
            words += ["--device", self.device, "--runtime", self.runtime]
        return shlex.join(words)

    @property
    def is_synthesized(self) -> bool:
        """Whether the weights folder was written by `respin weights synthesize`; then nothing is fetched."""
        return (self.weights / SYNTHESIZED).is_file()

    @property
    def checkpoints(self) -> list[Chosen]:
        """The checkpoints to have: the variant that is there, at least in part, or else the first."""
        return [found_variants(checkpoint, self.weights)[0] for checkpoint in CATALOGUE.values()]

    def missing_bytes(self) -> list[tuple[Path, int]]:
        """Return the disk space that the steps still take, by folder; an estimate from the published sizes."""
        if self.is_synthesized:
            return []
        fetched = sum(
            bytes_left(self.weights / each.checkpoint.name / file.path, file)
            for each in self.checkpoints
            for file in each.variant.files
        )
        sets = [(self.graphs, GRAPHS_MIB[self.chosen_precision]), (self.engines, ENGINES_MIB)]
        made = sum(_left_bytes(folder, mib) for folder, mib in sets if folder is not None)
        return [(self.weights, fetched), (self.models, made)]


def _left_bytes(folder: Path, complete_mib: int) -> int:
    """Return the bytes that an unfinished set still takes: 0 if it has all networks."""
    if not (folder / MANIFEST).is_file():
        return (complete_mib + DRAFT_MIB) * 2**20
    made = ModelSet.load(folder)
    if all(network in made.networks for network in NETWORKS):
        return 0
    return max(0, complete_mib * 2**20 - made.size_bytes) + DRAFT_MIB * 2**20
