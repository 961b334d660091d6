"""DDIM, as a step that is a pure function and as a path that any noise predictor can drive."""

from __future__ import annotations

import numpy as np

from respin_ensemble.sampling.noise_schedules import Schedule
from respin_ensemble.sampling.trajectory import Latents, Path


def ddim_step(
    latents: Latents,
    noise: Latents,
    schedule: Schedule,
    position: int,
    *,
    eta: float = 0.0,
    fresh: Latents | None = None,
) -> Latents:
    """One step of DDIM, eq. 12 of Song et al. 2021 (arXiv:2010.02502).

    Args:
        latents: (4, h, w), at the schedule's `position`.
        noise: the noise predicted in them, same shape.
        schedule: the noise levels.
        position: 0 = noisiest.
        eta: 0 deterministic .. 1 as much fresh noise as DDPM adds.
        fresh: unit noise, same shape; needed where eta > 0.

    Returns:
        (4, h, w), one level cleaner.
    """
    alpha, alpha_previous = schedule.alphas[position], schedule.alphas_previous[position]
    sigma = eta * np.sqrt((1 - alpha_previous) / (1 - alpha) * (1 - alpha / alpha_previous))
    clean = predicted_clean(latents, noise, alpha)
    direction = np.float32(np.sqrt(1 - alpha_previous - sigma**2)) * noise
    stepped: Latents = np.float32(np.sqrt(alpha_previous)) * clean + direction
    if fresh is not None:
        stepped = stepped + np.float32(sigma) * fresh
    return stepped


def predicted_clean(latents: Latents, noise: Latents, alpha: float) -> Latents:
    """The clean latents that a noise prediction stands for.

    Args:
        latents: (4, h, w), at the level whose share of signal power is `alpha`.
        noise: the noise predicted in them, same shape.
        alpha: above 0.
    """
    return (latents - np.float32(np.sqrt(1 - alpha)) * noise) / np.float32(np.sqrt(alpha))


def ddim(noise: Latents, schedule: Schedule, *, eta: float, generator: np.random.Generator) -> Path:
    """The way of one sample under DDIM.

    Args:
        noise: (4, h, w), unit variance: where it starts.
        schedule: the noise levels, noisiest first.
        eta: 0 deterministic .. 1.
        generator: of the fresh noise; the sample's own, so that its company in a batch changes nothing.
    """
    latents = noise
    for position, timestep in enumerate(schedule.timesteps):
        predicted = yield latents, timestep
        fresh = generator.standard_normal(latents.shape, np.float32) if eta > 0 else None
        latents = ddim_step(latents, predicted, schedule, position, eta=eta, fresh=fresh)
    return latents
