"""All samplers, by the name that a request uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from respin.specs import Array
from respin_ensemble.sampling.ddim import ddim
from respin_ensemble.sampling.noise_schedules import (
    NoiseSchedule,
    euler_schedule,
    karras_schedule,
    leading_schedule,
    linspace_schedule,
    zero123_schedule,
)
from respin_ensemble.sampling.solvers import dpmpp_2m, euler, unipc
from respin_ensemble.sampling.trajectory import Latents, Sample, Sampler, SamplingParams, apply_guidance

ModelFamily = Literal["zero123", "inpainting"]
"""The diffusion model that predicts the noise: DDIM visits different noise levels for each."""

SamplerFactory = Callable[[Latents, int, ModelFamily, float, np.random.Generator], tuple[Sampler, int]]
"""Makes a sampler from (noise, steps, family, eta, generator), and returns how many times it will call the UNet."""


def start(
    params: SamplingParams,
    noise: Latents,
    conditions: Mapping[str, Array],
    *,
    family: ModelFamily,
    generator: np.random.Generator,
) -> Sample:
    """Start the denoising of one sample.

    Args:
        params: sampler, steps, guidance and eta.
        noise: (4, h, w) float32, unit variance.
        conditions: the other inputs of the UNet by name, without batch axis.
        family: the diffusion model that predicts the noise.
        generator: source of the noise that DDIM adds back; the sample's own, so batching does not change its result.
    """
    sampler, steps = SAMPLER_FACTORIES[params.sampler](noise, params.steps, family, params.eta, generator)
    return Sample(apply_guidance(sampler, params.guidance, steps), steps, noise.shape, conditions)


def _make_ddim(
    noise: Latents, steps: int, family: ModelFamily, eta: float, generator: np.random.Generator
) -> tuple[Sampler, int]:
    schedule = _DDIM_SCHEDULES[family](steps)
    return ddim(noise, schedule, eta=eta, generator=generator), len(schedule)


def _solver(
    solve: Callable[[Latents, NoiseSchedule], Sampler], make_schedule: Callable[[int], NoiseSchedule]
) -> SamplerFactory:
    def make(
        noise: Latents, steps: int, _family: ModelFamily, _eta: float, _generator: np.random.Generator
    ) -> tuple[Sampler, int]:
        schedule = make_schedule(steps)
        return solve(noise, schedule), len(schedule)

    return make


_DDIM_SCHEDULES: Mapping[ModelFamily, Callable[[int], NoiseSchedule]] = {
    "zero123": zero123_schedule,
    "inpainting": leading_schedule,
}

SAMPLER_FACTORIES: Mapping[str, SamplerFactory] = {
    "ddim": _make_ddim,
    "euler": _solver(euler, euler_schedule),
    "dpmpp_2m": _solver(dpmpp_2m, linspace_schedule),
    "dpmpp_2m_karras": _solver(dpmpp_2m, karras_schedule),
    "unipc": _solver(unipc, linspace_schedule),
    "unipc_karras": _solver(unipc, karras_schedule),
}
"""Factory of each sampler."""
