"""From noise to latents: schedules, samplers, and who drives them."""

from respin_ensemble.sampling.ddim import ddim, ddim_step
from respin_ensemble.sampling.schedules import Schedule, leading_schedule, zero123_schedule
from respin_ensemble.sampling.stepper import Lockstep, OnStep, Sample, Stepper
from respin_ensemble.sampling.trajectory import Ask, Guidance, Latents, Path, Trajectory, guided

__all__ = [
    "Ask",
    "Guidance",
    "Latents",
    "Lockstep",
    "OnStep",
    "Path",
    "Sample",
    "Schedule",
    "Stepper",
    "Trajectory",
    "ddim",
    "ddim_step",
    "guided",
    "leading_schedule",
    "zero123_schedule",
]
