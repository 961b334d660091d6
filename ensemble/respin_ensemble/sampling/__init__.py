"""Numerics of diffusion sampling: noise schedules, samplers and guidance. No module in here calls a network."""

from respin_ensemble.sampling.ddim import ddim, ddim_step
from respin_ensemble.sampling.noise_schedules import NoiseSchedule, leading_schedule, zero123_schedule
from respin_ensemble.sampling.samplers import ModelFamily, start
from respin_ensemble.sampling.trajectory import (
    Guidance,
    Latents,
    Sample,
    Sampler,
    SamplingParams,
    Trajectory,
    UNetInput,
    apply_guidance,
)

__all__ = [
    "Guidance",
    "Latents",
    "ModelFamily",
    "NoiseSchedule",
    "Sample",
    "Sampler",
    "SamplingParams",
    "Trajectory",
    "UNetInput",
    "apply_guidance",
    "ddim",
    "ddim_step",
    "leading_schedule",
    "start",
    "zero123_schedule",
]
