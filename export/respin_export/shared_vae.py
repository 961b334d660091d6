"""Compare the VAEs of Zero123 and inpainting, which one graph serves."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from respin.errors import InvalidInput
from respin_export.checkpoints import find_checkpoint, latent_diffusion


def vae_note(weights: Path) -> str:
    """Return a sentence: whether the two VAEs are equal, and which one is exported.

    Args:
        weights: the weights folder, with Zero123's checkpoint in it.
    """
    try:
        inpainting = find_checkpoint("inpaint", weights)
    except InvalidInput:
        return "Zero123's VAE; inpainting's checkpoint was not there to compare it with"
    paths = (find_checkpoint("zero123", weights), inpainting)
    if len({weights_digest(latent_diffusion.load_vae(path, "a Stable Diffusion checkpoint")) for path in paths}) == 1:
        return "one VAE: Zero123's and inpainting's have the same weights"
    return "Zero123's VAE was taken for both; inpainting's has other weights"


def weights_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's tensors, rounded to float16 as in half of the published folders."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.to(torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()
