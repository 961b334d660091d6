"""Stable Diffusion's VAE: images to latents and back. Zero123 and the inpainting share it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from respin.contracts.networks import VAE_DECODER, VAE_ENCODER
from respin_ensemble.networks import Networks

LATENT_SCALE = 0.18215
"""Factor that gives latents unit variance (diffusers' `scaling_factor`). Zero123's condition is not scaled by it."""


def encode_mean(networks: Networks, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Encode an image as the mean of the VAE's posterior, not scaled.

    Args:
        networks: networks of the set.
        image: (3, h, w) float32 in -1..1.

    Returns:
        (4, h / 8, w / 8) float32.
    """
    mean: NDArray[np.float32] = networks(VAE_ENCODER, image=image[None])["mean"][0]
    return mean


def encode(networks: Networks, image: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Encode an image as scaled latents, sampled from the VAE's posterior.

    Args:
        networks: networks of the set.
        image: (3, h, w) float32 in -1..1.
        generator: generator of the unit noise that the sample is drawn with.

    Returns:
        (4, h / 8, w / 8) float32, times `LATENT_SCALE`.
    """
    posterior = networks(VAE_ENCODER, image=image[None])
    mean, log_variance = posterior["mean"][0], posterior["log_variance"][0]
    noise = generator.standard_normal(mean.shape, np.float32)
    latents: NDArray[np.float32] = mean + np.exp(np.float32(0.5) * log_variance) * noise
    return np.float32(LATENT_SCALE) * latents


def decode(networks: Networks, latents: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decode scaled latents.

    Args:
        networks: networks of the set.
        latents: (n, 4, h, w) float32, times `LATENT_SCALE`.

    Returns:
        (n, 3, 8h, 8w) float32, about -1..1.
    """
    images: NDArray[np.float32] = networks(VAE_DECODER, latents=latents / np.float32(LATENT_SCALE))["image"]
    return images
