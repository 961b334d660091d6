"""Every sampler by its name in a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from respin_ensemble.sampling.ddim import ddim
from respin_ensemble.sampling.noise_schedules import (
    Schedule,
    euler_schedule,
    karras_schedule,
    leading_schedule,
    linspace_schedule,
    zero123_schedule,
)
from respin_ensemble.sampling.solvers import dpmpp_2m, euler, unipc
from respin_ensemble.sampling.trajectory import Guidance, Latents, Path, Trajectory, guided

Family = Literal["zero123", "inpainting"]
"""Whose noise levels: DDIM visits other ones for each network."""

Plan = Callable[[Latents, int, Family, float, np.random.Generator], tuple[Path, int]]
"""(noise, steps, family, eta, generator) to a path and how often it asks the network."""


def start(
    sampler: str,
    noise: Latents,
    steps: int,
    guidance: Guidance,
    *,
    family: Family,
    eta: float,
    generator: np.random.Generator,
) -> tuple[Trajectory, int]:
    """Begin the trajectory of one sample.

    Args:
        sampler: a name of `respin.request.SAMPLERS`.
        noise: (4, h, w), unit variance.
        steps: how many are asked for.
        guidance: of the network at each step.
        family: which network predicts the noise.
        eta: of DDIM, 0 deterministic .. 1; the other samplers add no noise whatever it is.
        generator: of the fresh noise; the sample's own.

    Returns:
        The trajectory, and how often it asks the network: `steps`, but for DDIM on Zero123 (`zero123_schedule`).
    """
    path, calls = PLANS[sampler](noise, steps, family, eta, generator)
    return guided(path, guidance, calls), calls


def _ddim(noise: Latents, steps: int, family: Family, eta: float, generator: np.random.Generator) -> tuple[Path, int]:
    schedule = _DDIM_SCHEDULES[family](steps)
    return ddim(noise, schedule, eta=eta, generator=generator), len(schedule)


def _solver(path: Callable[[Latents, Schedule], Path], levels: Callable[[int], Schedule]) -> Plan:
    def plan(
        noise: Latents, steps: int, _family: Family, _eta: float, _generator: np.random.Generator
    ) -> tuple[Path, int]:
        schedule = levels(steps)
        return path(noise, schedule), len(schedule)

    return plan


_DDIM_SCHEDULES: Mapping[Family, Callable[[int], Schedule]] = {
    "zero123": zero123_schedule,
    "inpainting": leading_schedule,
}

PLANS: Mapping[str, Plan] = {
    "ddim": _ddim,
    "euler": _solver(euler, euler_schedule),
    "dpmpp_2m": _solver(dpmpp_2m, linspace_schedule),
    "dpmpp_2m_karras": _solver(dpmpp_2m, karras_schedule),
    "unipc": _solver(unipc, linspace_schedule),
    "unipc_karras": _solver(unipc, karras_schedule),
}
"""How each sampler begins."""
