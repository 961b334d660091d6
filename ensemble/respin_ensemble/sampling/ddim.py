"""DDIM: one step as a pure function, and the sampler."""

from __future__ import annotations

import numpy as np

from respin_ensemble.sampling.noise_schedules import NoiseSchedule
from respin_ensemble.sampling.trajectory import Latents, Sampler


def ddim_step(
    latents: Latents,
    noise: Latents,
    schedule: NoiseSchedule,
    position: int,
    *,
    eta: float = 0.0,
    fresh: Latents | None = None,
) -> Latents:
    """Take one step of DDIM, eq. 12 of Song et al. 2021 (arXiv:2010.02502).

    Args:
        latents: (4, h, w) at the schedule's `position`.
        noise: the noise predicted in them, same shape.
        schedule: the noise schedule.
        position: index into the schedule; 0 is the noisiest level.
        eta: 0 is deterministic, 1 adds as much fresh noise as DDPM.
        fresh: unit noise, same shape; required if eta > 0.

    Returns:
        (4, h, w), one level cleaner.
    """
    alpha, alpha_previous = schedule.alphas[position], schedule.alphas_previous[position]
    sigma = eta * np.sqrt((1 - alpha_previous) / (1 - alpha) * (1 - alpha / alpha_previous))
    clean = predict_clean(latents, noise, alpha)
    direction = np.float32(np.sqrt(1 - alpha_previous - sigma**2)) * noise
    stepped: Latents = np.float32(np.sqrt(alpha_previous)) * clean + direction
    if fresh is not None:
        stepped = stepped + np.float32(sigma) * fresh
    return stepped


def predict_clean(latents: Latents, noise: Latents, alpha: float) -> Latents:
    """Return the clean latents that a noise prediction implies.

    Args:
        latents: (4, h, w), at the level whose share of signal power is `alpha`.
        noise: the noise predicted in them, same shape.
        alpha: above 0.
    """
    return (latents - np.float32(np.sqrt(1 - alpha)) * noise) / np.float32(np.sqrt(alpha))


def ddim(noise: Latents, schedule: NoiseSchedule, *, eta: float, generator: np.random.Generator) -> Sampler:
    """Denoise one sample with DDIM.

    Args:
        noise: (4, h, w), unit variance.
        schedule: the noise schedule.
        eta: 0 (deterministic) to 1.
        generator: source of the fresh noise; the sample's own, so batching does not change its result.
    """
    latents = noise
    for position, timestep in enumerate(schedule.timesteps):
        predicted = yield latents, timestep
        fresh = generator.standard_normal(latents.shape, np.float32) if eta > 0 else None
        latents = ddim_step(latents, predicted, schedule, position, eta=eta, fresh=fresh)
    return latents
