"""Samplers that need few steps: solvers of the probability-flow ODE, which add no noise back.

All of them use data prediction: they extrapolate the clean latents. With lambda half the log signal-to-noise ratio, a
step has the length h = lambda(to) - lambda(from).
"""

from __future__ import annotations

import math

import numpy as np

from respin_ensemble.sampling.ddim import ddim_step, predict_clean
from respin_ensemble.sampling.noise_schedules import NoiseSchedule
from respin_ensemble.sampling.trajectory import Latents, Sampler


def dpmpp_2m_step(
    latents: Latents, clean: Latents, schedule: NoiseSchedule, position: int, *, before: Latents | None
) -> Latents:
    """Take one step of DPM-Solver++(2M), Algorithm 2 of Lu et al. 2022 (arXiv:2211.01095).

    Args:
        latents: (4, h, w) at the schedule's `position`.
        clean: the clean latents predicted from them, same shape.
        schedule: the noise schedule.
        position: index into the schedule; 0 is the noisiest level.
        before: the clean latents predicted one position earlier; None makes it a first-order step, which is DDIM's.

    Returns:
        (4, h, w), one level cleaner.
    """
    if before is not None:
        ratio = _advance(schedule, position) / _advance(schedule, position - 1)
        clean = clean + np.float32(ratio / 2) * (clean - before)
    return _first_order(latents, clean, schedule, position)


def unic_step(
    latents: Latents,
    clean: Latents,
    reached: Latents,
    schedule: NoiseSchedule,
    position: int,
    *,
    before: Latents | None,
) -> Latents:
    """Correct the step from `position` with the prediction at its end: UniC of UniPC.

    Order 1 without `before` and order 2 with it; B(h) = e^h - 1 ("bh2"), data prediction (Zhao et al. 2023,
    arXiv:2302.04867, section 3).

    Args:
        latents: (4, h, w) at the schedule's `position`, where the step begins.
        clean: the clean latents predicted from them, same shape.
        reached: the clean latents predicted at the end of the step.
        schedule: the noise schedule.
        position: index into the schedule; 0 is the noisiest level.
        before: the clean latents predicted one position before `clean`.

    Returns:
        (4, h, w), at the next position, corrected.
    """
    h = _advance(schedule, position)
    if before is None:
        return _first_order(latents, clean + np.float32(0.5) * (reached - clean), schedule, position)
    # The two weights that make the step exact where the prediction is a polynomial of degree 2 in lambda.
    ratio = -_advance(schedule, position - 1) / h
    first = (math.expm1(-h) / -h - 1) / math.expm1(-h)
    second = 2 * ((math.expm1(-h) / -h - 1) / -h - 0.5) / math.expm1(-h)
    old = (first - second) / (1 - ratio)
    slope = np.float32(old / ratio) * (before - clean) + np.float32(first - old) * (reached - clean)
    return _first_order(latents, clean + slope, schedule, position)


def euler(noise: Latents, schedule: NoiseSchedule) -> Sampler:
    """Denoise with Euler's method in the noise level sigma: Karras et al. 2022 (arXiv:2206.00364), Algorithm 1.

    In latents of unit variance its step is DDIM's without fresh noise (eq. 13 of Song et al. 2021). The differences are
    the levels, and that the initial noise is scaled to the first level.

    Args:
        noise: (4, h, w), unit variance.
        schedule: the noise schedule.
    """
    latents: Latents = np.float32(math.sqrt(1 - schedule.alphas[0])) * noise
    for position, timestep in enumerate(schedule.timesteps):
        predicted = yield latents, timestep
        latents = ddim_step(latents, predicted, schedule, position)
    return latents


def dpmpp_2m(noise: Latents, schedule: NoiseSchedule) -> Sampler:
    """Denoise with DPM-Solver++(2M): second order except for the first and last steps.

    Args:
        noise: (4, h, w), unit variance.
        schedule: a noise schedule that ends without noise.
    """
    latents, before = noise, None
    for position, timestep in enumerate(schedule.timesteps):
        predicted = yield latents, timestep
        clean = predict_clean(latents, predicted, schedule.alphas[position])
        latents = dpmpp_2m_step(latents, clean, schedule, position, before=_history(before, schedule, position))
        before = clean
    return latents


def unipc(noise: Latents, schedule: NoiseSchedule) -> Sampler:
    """Denoise with UniPC of order 2: each step is corrected with the next prediction, without a further call.

    Its predictor, UniP-2 with B(h) = e^h - 1, is the step of DPM-Solver++(2M).

    Args:
        noise: (4, h, w), unit variance.
        schedule: a noise schedule that ends without noise.
    """
    reached, latents = noise, noise
    before, earlier = None, None
    for position, timestep in enumerate(schedule.timesteps):
        predicted = yield reached, timestep
        clean = predict_clean(reached, predicted, schedule.alphas[position])
        if before is not None:
            latents = unic_step(latents, before, clean, schedule, position - 1, before=earlier)
        reached = dpmpp_2m_step(latents, clean, schedule, position, before=_history(before, schedule, position))
        before, earlier = clean, before
    return reached


def _first_order(latents: Latents, clean: Latents, schedule: NoiseSchedule, position: int) -> Latents:
    """Return the exact solution for a prediction that is constant over the step."""
    alpha, alpha_previous = schedule.alphas[position], schedule.alphas_previous[position]
    kept = math.sqrt((1 - alpha_previous) / (1 - alpha))
    added = -math.sqrt(alpha_previous) * math.expm1(-_advance(schedule, position))
    return np.float32(kept) * latents + np.float32(added) * clean


def _advance(schedule: NoiseSchedule, position: int) -> float:
    """Return how much the step from `position` raises lambda; infinite if the step ends without noise."""
    return _half_log_snr(schedule.alphas_previous[position]) - _half_log_snr(schedule.alphas[position])


def _half_log_snr(alpha: float) -> float:
    return math.inf if alpha == 1 else 0.5 * math.log(alpha / (1 - alpha))


def _history(before: Latents | None, schedule: NoiseSchedule, position: int) -> Latents | None:
    """Drop the history for the last step, which ends without noise, where lambda is infinite."""
    return None if position == len(schedule) - 1 else before
