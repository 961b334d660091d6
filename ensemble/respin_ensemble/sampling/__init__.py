"""From noise to latents: schedules, samplers, and who drives them."""

from respin_ensemble.sampling.ddim import Latents, Trajectory, ddim, ddim_step
from respin_ensemble.sampling.schedules import Schedule, leading_schedule, zero123_schedule
from respin_ensemble.sampling.stepper import Lockstep, OnStep, Sample, Stepper

__all__ = [
    "Latents",
    "Lockstep",
    "OnStep",
    "Sample",
    "Schedule",
    "Stepper",
    "Trajectory",
    "ddim",
    "ddim_step",
    "leading_schedule",
    "zero123_schedule",
]
