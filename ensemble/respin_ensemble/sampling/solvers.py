"""Samplers that need few steps: solvers of the probability-flow ODE, which add no noise on their way.

All of them solve in clean pictures (data prediction). With lambda half the logarithm of the signal-to-noise ratio, a
step goes h = lambda(to) - lambda(from) further.
"""

from __future__ import annotations

import math

import numpy as np

from respin_ensemble.sampling.ddim import ddim_step, predicted_clean
from respin_ensemble.sampling.noise_schedules import Schedule
from respin_ensemble.sampling.trajectory import Latents, Path


def dpmpp_2m_step(
    latents: Latents, clean: Latents, schedule: Schedule, position: int, *, before: Latents | None
) -> Latents:
    """One step of DPM-Solver++(2M), Algorithm 2 of Lu et al. 2022 (arXiv:2211.01095).

    Args:
        latents: (4, h, w), at the schedule's `position`.
        clean: the picture predicted from them, same shape.
        schedule: the noise levels.
        position: 0 = noisiest.
        before: the picture predicted one position earlier; None makes the step one of first order, which is DDIM's.

    Returns:
        (4, h, w), one level cleaner.
    """
    if before is not None:
        ratio = _advance(schedule, position) / _advance(schedule, position - 1)
        clean = clean + np.float32(ratio / 2) * (clean - before)
    return _first_order(latents, clean, schedule, position)


def unic_step(
    latents: Latents, clean: Latents, reached: Latents, schedule: Schedule, position: int, *, before: Latents | None
) -> Latents:
    """The step from `position` again, now that the network has seen where it led: UniC of UniPC.

    Order 1 without `before` and order 2 with it; B(h) = e^h - 1 ("bh2"), data prediction (Zhao et al. 2023,
    arXiv:2302.04867, section 3).

    Args:
        latents: (4, h, w), at the schedule's `position`: where the step began.
        clean: the picture predicted from them, same shape.
        reached: the picture predicted where the step led.
        schedule: the noise levels.
        position: 0 = noisiest.
        before: the picture predicted one position before `clean`.

    Returns:
        (4, h, w), at the next position, corrected.
    """
    h = _advance(schedule, position)
    if before is None:
        return _first_order(latents, clean + np.float32(0.5) * (reached - clean), schedule, position)
    # The two weights that make the step exact for pictures that change as a polynomial of degree 2 in lambda.
    ratio = -_advance(schedule, position - 1) / h
    first = (math.expm1(-h) / -h - 1) / math.expm1(-h)
    second = 2 * ((math.expm1(-h) / -h - 1) / -h - 0.5) / math.expm1(-h)
    old = (first - second) / (1 - ratio)
    slope = np.float32(old / ratio) * (before - clean) + np.float32(first - old) * (reached - clean)
    return _first_order(latents, clean + slope, schedule, position)


def euler(noise: Latents, schedule: Schedule) -> Path:
    """Euler's method in the noise level sigma, Algorithm 1 of Karras et al. 2022 (arXiv:2206.00364), lines 4 and 5.

    In latents of unit variance that is DDIM's step without fresh noise (eq. 13 of Song et al. 2021); what differs is
    that it starts from noise as strong as the first level's share, and the levels.

    Args:
        noise: (4, h, w), unit variance.
        schedule: the noise levels, noisiest first.
    """
    latents: Latents = np.float32(math.sqrt(1 - schedule.alphas[0])) * noise
    for position, timestep in enumerate(schedule.timesteps):
        predicted = yield latents, timestep
        latents = ddim_step(latents, predicted, schedule, position)
    return latents


def dpmpp_2m(noise: Latents, schedule: Schedule) -> Path:
    """DPM-Solver++(2M): of second order but for its first and last steps.

    Args:
        noise: (4, h, w), unit variance: where it starts.
        schedule: the noise levels, noisiest first, down to none.
    """
    latents, before = noise, None
    for position, timestep in enumerate(schedule.timesteps):
        predicted = yield latents, timestep
        clean = predicted_clean(latents, predicted, schedule.alphas[position])
        latents = dpmpp_2m_step(latents, clean, schedule, position, before=_unless_last(before, schedule, position))
        before = clean
    return latents


def unipc(noise: Latents, schedule: Schedule) -> Path:
    """UniPC of order 2: each step is taken again, at no further call, once the network has seen where it led.

    Its predictor, UniP-2 with B(h) = e^h - 1, is the step of DPM-Solver++(2M).

    Args:
        noise: (4, h, w), unit variance: where it starts.
        schedule: the noise levels, noisiest first, down to none.
    """
    reached, latents = noise, noise
    before, earlier = None, None
    for position, timestep in enumerate(schedule.timesteps):
        predicted = yield reached, timestep
        clean = predicted_clean(reached, predicted, schedule.alphas[position])
        if before is not None:
            latents = unic_step(latents, before, clean, schedule, position - 1, before=earlier)
        reached = dpmpp_2m_step(latents, clean, schedule, position, before=_unless_last(before, schedule, position))
        before, earlier = clean, before
    return reached


def _first_order(latents: Latents, clean: Latents, schedule: Schedule, position: int) -> Latents:
    """The exact solution where the predicted picture does not change on the way."""
    alpha, alpha_previous = schedule.alphas[position], schedule.alphas_previous[position]
    kept = math.sqrt((1 - alpha_previous) / (1 - alpha))
    added = -math.sqrt(alpha_previous) * math.expm1(-_advance(schedule, position))
    return np.float32(kept) * latents + np.float32(added) * clean


def _advance(schedule: Schedule, position: int) -> float:
    """By how much the step from `position` raises lambda; infinite where it leads to no noise at all."""
    return _half_log_snr(schedule.alphas_previous[position]) - _half_log_snr(schedule.alphas[position])


def _half_log_snr(alpha: float) -> float:
    return math.inf if alpha == 1 else 0.5 * math.log(alpha / (1 - alpha))


def _unless_last(before: Latents | None, schedule: Schedule, position: int) -> Latents | None:
    """No history for the last step: it leads to no noise, where lambda is infinite."""
    return None if position == len(schedule) - 1 else before
