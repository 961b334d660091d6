"""How much GPU memory the networks take in the engine's process, by runtime: computed, before anything is loaded.

`gpu_memory.json` beside this module has the figures of the published and of the mini set. `respin bench gpu-memory`
writes them: for PyTorch it runs each network on tensors without values, and adds up those that exist at the same time;
for TensorRT it takes what the builder said of the engines (docs/parity.md). ONNX Runtime is assumed to need what
PyTorch needs. What cuDNN and cuBLAS take for themselves is in none of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from respin.contracts import NETWORKS
from respin.contracts.networks import UNETS
from respin.model_set import ModelSet

FILE = Path(__file__).with_name("gpu_memory.json")

CONTEXT_MIB = 1190
"""A process's CUDA context with the libraries' code, MiB: NVML's figure for the process of docs/benchmarks.md on an
H200 (10124) without PyTorch's tensors (5418) and scratch memory (3516)."""

MIB = 2**20


@dataclass(frozen=True)
class GpuNeed:
    """GPU memory of the engine's process, MiB.

    Args:
        weights_mib: weights of all networks.
        scratch_mib: intermediate values of all calls that may run at the same time.
        context_mib: CUDA's context.
    """

    weights_mib: int
    scratch_mib: int
    context_mib: int = CONTEXT_MIB

    @property
    def total_mib(self) -> int:
        """All of it together."""
        return self.weights_mib + self.scratch_mib + self.context_mib

    def __str__(self) -> str:
        """In words."""
        return (
            f"{self.total_mib} MiB of GPU memory (weights {self.weights_mib}, scratch {self.scratch_mib}, context "
            f"{self.context_mib}; computed)"
        )


def gpu_need(runtime: str, model_set: ModelSet, unet_batch: int) -> GpuNeed:
    """Return the GPU memory that a set needs.

    Args:
        runtime: key of `respin.runtimes.RUNTIMES`.
        model_set: the set's manifest.
        unet_batch: samples of the largest call of a UNet.
    """
    figures = figures_of(model_set)
    weights, scratch = figures["weights_mib"], figures["scratch_mib"]["tensorrt" if runtime == "tensorrt" else "torch"]
    # Files of a set are its weights; modules are made of checkpoints, which hold more.
    has_files = model_set.networks and runtime != "torch"
    weights_mib = model_set.size_bytes / MIB if has_files else sum(weights.values())
    by_network = {name: first + more * (_samples(name, unet_batch) - 1) for name, (first, more) in scratch.items()}
    if runtime == "onnxruntime":
        # Each session has its own.
        scratch_mib = sum(by_network.values())
    else:
        # The UNets run beside each other and beside one of the others, which share.
        scratch_mib = sum(by_network[name] for name in UNETS) + max(
            each for name, each in by_network.items() if name not in UNETS
        )
    return GpuNeed(round(weights_mib), round(scratch_mib))


def _samples(name: str, unet_batch: int) -> int:
    return min(unet_batch, NETWORKS[name].max_batch_size) if name in UNETS else 1


def figures_of(model_set: ModelSet) -> Mapping[str, Any]:
    """Return the figures of the set whose views are as large as this one's: weights and scratch in MiB, by network.

    Scratch is a pair: of a call with one sample, and of each further sample of a UNet.
    """
    sets = stored_figures()
    return next((each for each in sets.values() if each["view_side"] == model_set.sizes.view_side), sets["full"])


@cache
def stored_figures() -> dict[str, dict[str, Any]]:
    """Return what `gpu_memory.json` holds, by size of the networks: "full" and "mini"."""
    figures: dict[str, dict[str, Any]] = json.loads(FILE.read_text())
    return figures
