"""Build the networks of the mini set with initial weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from respin_export.mini.clip import clip_text, clip_vision
from respin_export.mini.edsr import TrainedEdsr, to_edsr
from respin_export.mini.grounding_dino import MiniGroundingDino, grounding_dino_model
from respin_export.mini.sam import MiniSam
from respin_export.mini.unets import MiniInpaintUNet, zero123_unet
from respin_export.mini.vae import MiniVaeDecoder, MiniVaeEncoder

SEED = 413
"""Seed of all random weights."""

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "grounding_dino": lambda: MiniGroundingDino(grounding_dino_model()),
    "sam_encoder": lambda: MiniSam().encoder,
    "sam_decoder": lambda: MiniSam().decoder,
    "clip_vision": clip_vision,
    "zero123_unet": zero123_unet,
    "vae_encoder": MiniVaeEncoder,
    "vae_decoder": MiniVaeDecoder,
    "edsr": lambda: to_edsr(TrainedEdsr()),
    "clip_text": clip_text,
    "inpaint_unet": MiniInpaintUNet,
}
"""Builder of each network, by name."""


def build(name: str, *, seed: int = SEED) -> nn.Module:
    """Build a network with the weights from which training starts; the same seed gives the same weights.

    Args:
        name: name of the contract.
        seed: seed of the weights.
    """
    return build_seeded(BUILDERS[name], seed).eval()


def build_seeded(make: Callable[[], nn.Module], seed: int = SEED) -> nn.Module:
    """Build a module with seeded random numbers, and restore PyTorch's generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
