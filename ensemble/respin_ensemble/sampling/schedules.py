"""Which noise levels a sampler visits.

Both diffusion networks were trained on the same 1000 levels ("scaled linear"); what differs is which of them the
upstream code visits, and Zero123's has two quirks that its users' pictures depend on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

TRAINING_STEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012


@cache
def signal_shares() -> NDArray[np.float64]:
    """(1000,) share of signal power left at each noise level: alphas_cumprod of the scaled-linear betas."""
    betas = np.linspace(BETA_START**0.5, BETA_END**0.5, TRAINING_STEPS) ** 2
    return np.cumprod(1 - betas)


@dataclass(frozen=True)
class Schedule:
    """The noise levels of one trajectory, from noisiest to cleanest.

    Args:
        timesteps: 0..999, falling.
        alphas: share of signal power at each.
        alphas_previous: the share that the step from each leads to.
    """

    timesteps: tuple[int, ...]
    alphas: tuple[float, ...]
    alphas_previous: tuple[float, ...]

    def __len__(self) -> int:
        """How many times the network is called."""
        return len(self.timesteps)


def _schedule(rising: list[int], kept: int) -> Schedule:
    """The first `kept` of rising timesteps, each leading to the one before it, the first to level 0."""
    shares = signal_shares()
    previous = [0, *rising[:-1]]
    return Schedule(
        timesteps=tuple(rising[:kept][::-1]),
        alphas=tuple(float(shares[level]) for level in rising[:kept][::-1]),
        alphas_previous=tuple(float(shares[level]) for level in previous[:kept][::-1]),
    )


def zero123_schedule(steps: int) -> Schedule:
    """The levels that Zero123's own sampler visits when asked for `steps`.

    Two quirks, kept because they shape the picture: every (1000 // steps)-th level is listed, so that 75 steps give 77
    levels; and the noisiest is dropped, so that 76 run, the first at 976 on pure noise
    (cvlab-columbia/zero123, ldm/models/diffusion/ddim.py, `ddim_sampling` with t_start = -1).

    Args:
        steps: 2..500.
    """
    rising = [level + 1 for level in range(0, TRAINING_STEPS, TRAINING_STEPS // steps)]
    return _schedule(rising, kept=len(rising) - 1)


def leading_schedule(steps: int) -> Schedule:
    """The levels of diffusers' DDIM with "leading" spacing and offset 1: what SD-1.5 inpainting runs on.

    Args:
        steps: 1..500.
    """
    stride = TRAINING_STEPS // steps
    return _schedule([position * stride + 1 for position in range(steps)], kept=steps)
