"""Shared parts of training the two denoising networks: noise levels, noise, and a short sampler for the evaluation."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from respin_export.mini.unets import TRAINING_STEPS, noise_levels
from respin_export.mini.vae import LATENT_SCALE, MiniVaeDecoder

NOISY_SHARE, NOISY_FROM = 0.5, 900
"""Share of samples drawn from the noisiest steps, where pose and shape are decided; the others come from all steps."""

LARGEST_GUIDANCE = 10.0
"""Largest guidance scale in training; the networks learn to ignore the scale."""

PART = 16
"""Number of pictures decoded at a time."""

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Function from noisy latents (B, 4, h, w), time steps (B, 1) and guidance (B, 1) to clean latents (B, 4, h, w)."""


def signal_shares() -> Tensor:
    """Return the share of signal power at each training step, (1000,) float32: alphas_cumprod."""
    return (1 / (1 + noise_levels() ** 2)).float()


def draw_levels(size: int, generator: np.random.Generator) -> dict[str, Tensor]:
    """Draw timestep and guidance of a batch, each (size, 1) float32."""
    noisy = generator.random(size) < NOISY_SHARE
    timestep = np.where(
        noisy, generator.integers(NOISY_FROM, TRAINING_STEPS, size), generator.integers(0, TRAINING_STEPS, size)
    )
    return {
        "timestep": torch.from_numpy(timestep).float()[:, None],
        "guidance": torch.from_numpy(generator.uniform(1, LARGEST_GUIDANCE, (size, 1))).float(),
    }


def add_noise(clean: Tensor, timestep: Tensor) -> Tensor:
    """Add noise to clean latents, (B, 4, h, w), by their time steps, (B, 1)."""
    signal = signal_shares().to(clean)[timestep.long()][:, :, None, None]
    return signal.sqrt() * clean + (1 - signal).sqrt() * torch.randn_like(clean)


def ddim(predict: Predict, shape: torch.Size, *, steps: int, guidance: float, seed: int = 5) -> Tensor:
    """Denoise from one fixed noise without adding any (Song et al. 2021, eq. 12), in evenly spaced steps.

    Args:
        predict: the network.
        shape: shape of the latents, (N, 4, h, w).
        steps: number of steps of the sampler.
        guidance: guidance scale, an input of the network.
        seed: seed of the noise.

    Returns:
        (N, 4, h, w) float32: the clean latents that the last step predicts.
    """
    shares = signal_shares()
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    clean = latents
    times = np.linspace(TRAINING_STEPS - 1, 0, steps + 1).round().astype(int)
    for now, later in itertools.pairwise(times.tolist()):
        timestep, scale = torch.full((shape[0], 1), float(now)), torch.full((shape[0], 1), guidance)
        with torch.autocast("cpu", torch.bfloat16):
            clean = predict(latents, timestep, scale).float()
        noise = (latents - shares[now].sqrt() * clean) / (1 - shares[now]).sqrt()
        latents = shares[later].sqrt() * clean + (1 - shares[later]).sqrt() * noise
    return clean


def decode(decoder: MiniVaeDecoder, latents: Tensor) -> Tensor:
    """Decode scaled latents, (N, 4, h, w), to pictures (N, 3, 8h, 8w) in -1..1."""
    parts = [decoder(latents[start : start + PART] / LATENT_SCALE) for start in range(0, len(latents), PART)]
    return torch.cat(parts).clamp(-1, 1)
