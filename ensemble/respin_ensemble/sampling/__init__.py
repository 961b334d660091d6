"""Numerics of diffusion sampling: noise schedules, samplers and guidance; no network is called in here."""

from respin_ensemble.sampling.ddim import ddim, ddim_step
from respin_ensemble.sampling.noise_schedules import Schedule, leading_schedule, zero123_schedule
from respin_ensemble.sampling.samplers import Family, start
from respin_ensemble.sampling.trajectory import Ask, Guidance, Latents, Path, Sample, Trajectory, guided

__all__ = [
    "Ask",
    "Family",
    "Guidance",
    "Latents",
    "Path",
    "Sample",
    "Schedule",
    "Trajectory",
    "ddim",
    "ddim_step",
    "guided",
    "leading_schedule",
    "start",
    "zero123_schedule",
]
