"""Which noise levels a sampler visits.

Both diffusion networks were trained on the same 1000 levels ("scaled linear"); what differs is which of them the
upstream code visits, and Zero123's has two quirks that its users' pictures depend on.

The solvers' schedules are those of diffusers' scheduler classes with their default spacing, "linspace", which is also
what `from_config` on the scheduler of SD-1.5 gives: they begin at the noisiest level, 999, where the latents are as
good as pure noise, and end with a step to no noise at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

TRAINING_STEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012

KARRAS_RHO = 7
"""How much closer the cleaner levels of a Karras schedule lie; the paper's choice."""


@cache
def signal_shares() -> NDArray[np.float64]:
    """(1000,) share of signal power left at each noise level: alphas_cumprod of the scaled-linear betas."""
    betas = np.linspace(BETA_START**0.5, BETA_END**0.5, TRAINING_STEPS) ** 2
    return np.cumprod(1 - betas)


@dataclass(frozen=True)
class Schedule:
    """The noise levels of one trajectory, from noisiest to cleanest.

    Args:
        timesteps: 0..999, falling, possibly between two levels, possibly repeated.
        alphas: share of signal power at each.
        alphas_previous: the share that the step from each leads to.
    """

    timesteps: tuple[float, ...]
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


def linspace_schedule(steps: int) -> Schedule:
    """`steps` levels, evenly spaced from 999 down, the last of them a step above 0.

    Args:
        steps: 1..500.
    """
    timesteps = np.linspace(0, TRAINING_STEPS - 1, steps + 1).round()[:0:-1]
    return _down_to_none(timesteps, signal_shares()[timesteps.astype(int)])


def karras_schedule(steps: int) -> Schedule:
    """Levels between the noisiest and the cleanest whose sigma^(1/7) is evenly spaced.

    Eq. 5 of Karras et al. 2022 (arXiv:2206.00364). The time step told to the network is the nearest of the training's,
    as in diffusers; near 0 several levels may share one.

    Args:
        steps: 2..500.
    """
    sigmas = _sigmas()
    ends = sigmas[[-1, 0]] ** (1 / KARRAS_RHO)
    chosen = np.linspace(ends[0], ends[1], steps) ** KARRAS_RHO
    timesteps = np.interp(np.log(chosen), np.log(sigmas), np.arange(TRAINING_STEPS)).round()
    return _down_to_none(timesteps, 1 / (1 + chosen**2))


def euler_schedule(steps: int) -> Schedule:
    """`steps` levels, evenly spaced from 999 to 0, both included; sigma is interpolated between the training's.

    Args:
        steps: 2..500.
    """
    timesteps = np.linspace(TRAINING_STEPS - 1, 0, steps).astype(np.float32).astype(np.float64)
    sigmas = np.interp(timesteps, np.arange(TRAINING_STEPS), _sigmas())
    return _down_to_none(timesteps, 1 / (1 + sigmas**2))


def _sigmas() -> NDArray[np.float64]:
    """(1000,) noise over signal amplitude at each level, rising."""
    shares = signal_shares()
    sigmas: NDArray[np.float64] = np.sqrt((1 - shares) / shares)
    return sigmas


def _down_to_none(timesteps: NDArray[np.float64], alphas: NDArray[np.float64]) -> Schedule:
    """Each level leads to the next, the last to no noise."""
    shares = tuple(map(float, alphas))
    return Schedule(tuple(map(float, timesteps)), shares, (*shares[1:], 1.0))
