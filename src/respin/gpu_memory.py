"""How much GPU memory the networks take in the engine's process, by runtime: computed, before anything is loaded.

`gpu_memory.json` beside this module has the figures of the published and of the mini set. `respin bench gpu-memory`
writes them: for PyTorch it runs each network on tensors without values, and adds up those that exist at the same time;
for TensorRT it takes what the builder said of the engine plans (docs/parity.md). ONNX Runtime is assumed to need what
PyTorch needs. What cuDNN and cuBLAS take for themselves is in none of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

from respin.contracts import NETWORKS
from respin.contracts.networks import UNETS
from respin.errors import InvalidInput
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
        """Sum of all parts, MiB."""
        return self.weights_mib + self.scratch_mib + self.context_mib

    def __str__(self) -> str:
        """Return the parts and their sum in words."""
        return (
            f"{self.total_mib} MiB of GPU memory (weights {self.weights_mib}, scratch {self.scratch_mib}, context "
            f"{self.context_mib}; computed)"
        )


def gpu_need(runtime: str, model_set: ModelSet, unet_batch: int) -> GpuNeed:
    """Return the GPU memory that a set needs if all networks stay loaded.

    Args:
        runtime: key of `respin.runtimes.RUNTIMES`.
        model_set: the set's manifest.
        unet_batch: samples of the largest call of a UNet.
    """
    weights, scratch = _by_network(runtime, model_set, unet_batch)
    if runtime == "onnxruntime":
        # Each session has its own.
        return GpuNeed(round(sum(weights.values())), round(sum(scratch.values())))
    # The UNets run beside each other and beside one of the others, which share.
    shared = max(each for name, each in scratch.items() if name not in UNETS)
    return GpuNeed(round(sum(weights.values())), round(sum(scratch[name] for name in UNETS) + shared))


def shared_need(runtime: str, model_set: ModelSet, unet_batch: int, *, unets_stay: bool) -> GpuNeed:
    """Return the GPU memory that a set needs if networks make room for each other.

    Args:
        runtime: key of `respin.runtimes.RUNTIMES`.
        model_set: the set's manifest.
        unet_batch: samples of the largest call of a UNet.
        unets_stay: whether both UNets stay loaded beside the largest other network; else that one may evict a UNet, and
            it is enough that the UNets fit beside each other.
    """
    weights, scratch = _by_network(runtime, model_set, unet_batch)
    unets = sum(weights[name] for name in UNETS), sum(scratch[name] for name in UNETS)
    others = [(weights[name], scratch[name]) for name in NETWORKS if name not in UNETS]
    largest = max(others, key=sum)
    if unets_stay:
        weights_mib, scratch_mib = unets[0] + largest[0], unets[1] + largest[1]
    else:
        weights_mib, scratch_mib = max(unets, largest, key=sum)
    return GpuNeed(ceil(weights_mib), ceil(scratch_mib))


@dataclass(frozen=True)
class Sharing:
    """How the networks of a process share less memory than all of them need.

    Args:
        room_bytes: memory of all networks together, without CUDA's context.
        sizes_bytes: weights and scratch memory of each network, by name.
        unets_stay: whether the UNets stay loaded, and only the others make room for each other.
    """

    room_bytes: int
    sizes_bytes: Mapping[str, int]
    unets_stay: bool

    @property
    def paged(self) -> tuple[str, ...]:
        """Names of the networks that make room for each other."""
        return tuple(name for name in NETWORKS if not (self.unets_stay and name in UNETS))


def sharing_within(runtime: str, model_set: ModelSet, unet_batch: int, budget_mib: int) -> Sharing | None:
    """Return how the networks share a budget; None if they all fit, or there is no budget.

    Args:
        runtime: key of `respin.runtimes.RUNTIMES`.
        model_set: the set's manifest.
        unet_batch: samples of the largest call of a UNet.
        budget_mib: GPU memory of the process, MiB; 0 = no limit.

    Raises:
        InvalidInput: not even the networks that must be loaded at the same time fit.
    """
    if not budget_mib or gpu_need(runtime, model_set, unet_batch).total_mib <= budget_mib:
        return None
    stay, least = (shared_need(runtime, model_set, unet_batch, unets_stay=each).total_mib for each in (True, False))
    if budget_mib < least:
        raise InvalidInput(
            f"gpu_memory_mib is {budget_mib} and the runtime {runtime} needs at least {least} MiB, with networks that "
            "make room for each other"
        )
    weights, scratch = _by_network(runtime, model_set, unet_batch)
    sizes = {name: int((weights[name] + scratch[name]) * MIB) for name in NETWORKS}
    return Sharing((budget_mib - CONTEXT_MIB) * MIB, sizes, unets_stay=stay <= budget_mib)


def _by_network(runtime: str, model_set: ModelSet, unet_batch: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return weights and scratch memory by network, MiB."""
    figures = figures_of(model_set)
    weights, scratch = figures["weights_mib"], figures["scratch_mib"]["tensorrt" if runtime == "tensorrt" else "torch"]
    # Files of a set are its weights; modules are made of checkpoints, which hold more.
    if model_set.networks and runtime != "torch":
        files = {name: model_set.networks.get(name, ()) for name in NETWORKS}
        weights = {name: sum(record.size_bytes for record in records) / MIB for name, records in files.items()}
    more = {name: (min(unet_batch, NETWORKS[name].max_batch_size) if name in UNETS else 1) - 1 for name in NETWORKS}
    return weights, {name: first + each * more[name] for name, (first, each) in scratch.items()}


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
