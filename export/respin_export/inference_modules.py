"""Networks for inference in PyTorch: folded, in float16, and with attention that takes less scratch memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from respin.contracts.networks import UNETS
from respin_export.half import Cast, to_half
from respin_export.networks.folding import fold
from respin_export.networks.sam import move_positions_into_keys

WHOLLY_HALF = ("vae_encoder", "vae_decoder", "sam_encoder")
"""Networks for which `module.half()` works; for the others it fails, or costs precision."""


class LoadsNetworks(Protocol):
    """Weights that networks are loaded from, e.g. `respin_export.published.PublishedWeights`."""

    def load(self, network: str) -> nn.Module:
        """Load a network in float32."""
        ...


@dataclass(frozen=True)
class InferenceModules:
    """Loads the module of a network for inference; a `ModuleLoader` of `respin_ensemble.networks.torch_networks`.

    Args:
        weights: source of the networks.
        device: device that will run the modules, "cpu" or "cuda"; they are loaded onto the CPU.
        half: convert to float16 where that keeps the precision.
    """

    weights: LoadsNetworks
    device: str = "cuda"
    half: bool = True

    def __call__(self, name: str) -> nn.Module:
        """Load the module of one network, by name."""
        module = fold(self.weights.load(name).eval().requires_grad_(False))
        if self.device == "cuda" and name == "sam_encoder":
            move_positions_into_keys(module)
        return halve(name, module) if self.half else module


def halve(name: str, module: nn.Module) -> nn.Module:
    """Return a network in float16; PyTorch's own kernels of norms add up in float32 whatever they are given.

    Args:
        name: name of the network.
        module: the network; changed in place.
    """
    if name in UNETS:
        # Guidance stays outside: it multiplies rounding errors.
        unet: Any = module.unet
        module.unet = Cast(unet.half(), torch.float16, torch.float32, untouched=(1,))
        return module
    if name in WHOLLY_HALF:
        return Cast(module.half(), torch.float16, torch.float32)
    made: Any = to_half(module)
    # Nothing but convolutions, which the GPU computes with the channels last.
    whole: nn.Module = made.to(memory_format=torch.channels_last) if name == "edsr" else made
    return whole
