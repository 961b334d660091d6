"""Noise schedules: the levels that a sampler visits.

Both diffusion models were trained on the same 1000 levels ("scaled linear"). They differ in which of them the upstream
code visits, and Zero123's code has two quirks that its results depend on.

The schedules of the solvers are those of diffusers' scheduler classes with their default spacing, "linspace", which is
also what `from_config` on the scheduler of SD-1.5 gives: they begin at the noisiest level, 999, where the latents are
almost pure noise, and end without noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

TRAINING_STEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012

KARRAS_RHO = 7
"""Exponent of a Karras schedule: the higher, the denser the clean levels. 7 is the paper's choice."""


@cache
def signal_shares() -> NDArray[np.float64]:
    """Return the share of signal power at each level, (1000,): alphas_cumprod of the scaled-linear betas."""
    betas = np.linspace(BETA_START**0.5, BETA_END**0.5, TRAINING_STEPS) ** 2
    return np.cumprod(1 - betas)


@dataclass(frozen=True)
class NoiseSchedule:
    """The noise levels of one trajectory, from noisiest to cleanest.

    Args:
        timesteps: 0..999, descending; fractions and repeated values are allowed.
        alphas: share of signal power at each level.
        alphas_previous: share of signal power at the end of the step from each level.
    """

    timesteps: tuple[float, ...]
    alphas: tuple[float, ...]
    alphas_previous: tuple[float, ...]

    def __len__(self) -> int:
        """Return the number of calls of the network."""
        return len(self.timesteps)


def _make_schedule(ascending: list[int], kept: int) -> NoiseSchedule:
    """Make a schedule of the first `kept` ascending timesteps: each leads to the one before it, the first to 0."""
    shares = signal_shares()
    previous = [0, *ascending[:-1]]
    return NoiseSchedule(
        timesteps=tuple(ascending[:kept][::-1]),
        alphas=tuple(float(shares[level]) for level in ascending[:kept][::-1]),
        alphas_previous=tuple(float(shares[level]) for level in previous[:kept][::-1]),
    )


def zero123_schedule(steps: int) -> NoiseSchedule:
    """Return the levels that Zero123's own sampler visits for a number of steps.

    It keeps two quirks, because they affect the result: every (1000 // steps)-th level is listed, so 75 steps give 77
    levels; and the noisiest is dropped, so 76 run, the first at 976 on pure noise
    (cvlab-columbia/zero123, ldm/models/diffusion/ddim.py, `ddim_sampling` with t_start = -1).

    Args:
        steps: 2..500.
    """
    ascending = [level + 1 for level in range(0, TRAINING_STEPS, TRAINING_STEPS // steps)]
    return _make_schedule(ascending, kept=len(ascending) - 1)


def leading_schedule(steps: int) -> NoiseSchedule:
    """Return the levels of diffusers' DDIM with "leading" spacing and offset 1, the default of SD-1.5 inpainting.

    Args:
        steps: 1..500.
    """
    stride = TRAINING_STEPS // steps
    return _make_schedule([position * stride + 1 for position in range(steps)], kept=steps)


def linspace_schedule(steps: int) -> NoiseSchedule:
    """Return `steps` levels, evenly spaced from 999 down to one stride above 0.

    Args:
        steps: 1..500.
    """
    timesteps = np.linspace(0, TRAINING_STEPS - 1, steps + 1).round()[:0:-1]
    return _end_without_noise(timesteps, signal_shares()[timesteps.astype(int)])


def karras_schedule(steps: int) -> NoiseSchedule:
    """Return levels from the noisiest to the cleanest whose sigma^(1/7) is evenly spaced.

    Eq. 5 of Karras et al. 2022 (arXiv:2206.00364). The network receives the nearest training timestep, as in diffusers;
    near 0 several levels may share one.

    Args:
        steps: 2..500.
    """
    sigmas = _sigmas()
    ends = sigmas[[-1, 0]] ** (1 / KARRAS_RHO)
    chosen = np.linspace(ends[0], ends[1], steps) ** KARRAS_RHO
    timesteps = np.interp(np.log(chosen), np.log(sigmas), np.arange(TRAINING_STEPS)).round()
    return _end_without_noise(timesteps, 1 / (1 + chosen**2))


def euler_schedule(steps: int) -> NoiseSchedule:
    """Return `steps` levels, evenly spaced from 999 to 0 inclusive; sigma is interpolated between training levels.

    Args:
        steps: 2..500.
    """
    timesteps = np.linspace(TRAINING_STEPS - 1, 0, steps).astype(np.float32).astype(np.float64)
    sigmas = np.interp(timesteps, np.arange(TRAINING_STEPS), _sigmas())
    return _end_without_noise(timesteps, 1 / (1 + sigmas**2))


def _sigmas() -> NDArray[np.float64]:
    """Return the ratio of noise to signal amplitude at each level, (1000,), ascending."""
    shares = signal_shares()
    sigmas: NDArray[np.float64] = np.sqrt((1 - shares) / shares)
    return sigmas


def _end_without_noise(timesteps: NDArray[np.float64], alphas: NDArray[np.float64]) -> NoiseSchedule:
    """Make a schedule in which each level leads to the next, and the last to no noise."""
    shares = tuple(map(float, alphas))
    return NoiseSchedule(tuple(map(float, timesteps)), shares, (*shares[1:], 1.0))
