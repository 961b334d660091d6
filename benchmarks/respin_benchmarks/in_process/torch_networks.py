"""The ten networks in this process as PyTorch modules: what the exported files are measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from respin.contracts import NETWORKS
from respin.model_set import Sizes
from respin.specs import Array, ModelSpec
from respin_benchmarks.in_process.runner import CompiledGraphs, Eager, Graphs, Lane
from respin_benchmarks.in_process.torch_parts import less_scratch
from respin_benchmarks.in_process.weights import Weights
from respin_ensemble.networks import BatchedNetworks
from respin_export.half import Cast, in_half
from respin_export.networks.folding import folded

UNETS = ("zero123_unet", "inpaint_unet")
WHOLLY_HALF = ("vae_encoder", "vae_decoder", "sam_encoder")
"""Networks that are run in float16 as the libraries do it; of the others `module.half()` fails, or costs precision."""

Execution = Literal["eager", "graphs", "compiled"]

ONE = (1,)
COMPILED: dict[str, tuple[int, ...]] = {
    "grounding_dino": ONE,
    "zero123_unet": (1, 4, 8),
    "inpaint_unet": ONE,
    "sam_encoder": ONE,
    "vae_encoder": ONE,
    "vae_decoder": ONE,
    "edsr": ONE,
}
"""Networks worth torch.compile's minutes, which hold nearly all of a job's arithmetic, and the batches worth them. What
takes longest comes first."""


class TorchNetworks(BatchedNetworks):
    """The ten networks, each called by one thread at a time.

    Args:
        modules: by name, on the device.
        sizes: of their set.
        device: "cpu" or "cuda".
        execution: "eager"; "graphs" = a CUDA graph for each shape that comes again; "compiled" = the same of
            torch.compile's code, for those of `COMPILED`.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], sizes: Sizes, *, device: str = "cpu", execution: Execution = "eager"
    ) -> None:
        super().__init__(sizes)
        lanes = _lanes(device, execution)
        self.runners = {
            name: runner_of(name, execution, module, device, lanes.get(name)) for name, module in modules.items()
        }

    @classmethod
    def load(
        cls,
        weights: Weights,
        *,
        device: str,
        half: bool,
        execution: Execution,
        names: Sequence[str] = tuple(NETWORKS),
    ) -> TorchNetworks:
        """Load one after another.

        Args:
            weights: to load from.
            device: "cpu" or "cuda".
            half: in float16 where `respin_export.half` says so.
            execution: see the class.
            names: of the networks.
        """
        modules = {name: on_device(weights, name, device=device, half=half) for name in names}
        return cls(modules, weights.sizes, device=device, execution=execution)

    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        with torch.inference_mode():
            return self.runners[spec.name](arrays)


def on_device(weights: Weights, name: str, *, device: str, half: bool) -> nn.Module:
    """A network as it is run.

    Args:
        weights: to load from.
        name: of the network.
        device: "cpu" or "cuda".
        half: in float16 where `respin_export.half` says so.
    """
    module = folded(weights.load(name).eval().requires_grad_(False))
    if device == "cuda":
        module = less_scratch(module)
    return (halved(name, module) if half else module).to(device)


def halved(name: str, module: nn.Module) -> nn.Module:
    """A network in float16 as PyTorch runs it best: its own kernels of a norm add up in float32 whatever comes in.

    Args:
        name: of the network.
        module: changed in place.
    """
    if name in UNETS:
        # Guidance stays outside: it multiplies rounding errors.
        unet: Any = module.unet
        module.unet = Cast(unet.half(), torch.float16, torch.float32, untouched=(1,))
        return module
    if name in WHOLLY_HALF:
        return Cast(module.half(), torch.float16, torch.float32)
    made: Any = in_half(module)
    # Nothing but convolutions, which the GPU does with the channels last.
    whole: nn.Module = made.to(memory_format=torch.channels_last) if name == "edsr" else made
    return whole


def _lanes(device: str, execution: Execution) -> dict[str, Lane]:
    """UNets beside each other, the one that more depends on first; the rest, a tenth of the time, in turn."""
    if device == "cpu" or execution == "eager":
        return {}
    rest = Lane(device)
    return dict.fromkeys(NETWORKS, rest) | {name: Lane(device, urgent=name != "inpaint_unet") for name in UNETS}


def runner_of(name: str, execution: Execution, module: nn.Module, device: str, lane: Lane | None = None) -> Eager:
    """What calls a network.

    Args:
        name: of the network.
        execution: as of `TorchNetworks`.
        module: on the device.
        device: "cpu" or "cuda".
        lane: that it goes in; its own if there is none.
    """
    spec = NETWORKS[name]
    if execution == "eager":
        return Eager(module, spec, device, lane)
    if execution == "compiled" and name in COMPILED:
        return CompiledGraphs(module, spec, device, lane, batches=COMPILED[name])
    return Graphs(module, spec, device, lane)
