"""From noise to latents: schedules, samplers, and who drives them."""

from respin_ensemble.sampling.ddim import ddim, ddim_step
from respin_ensemble.sampling.pace import Forecast
from respin_ensemble.sampling.samplers import Family, start
from respin_ensemble.sampling.scheduler import Room, StepScheduler
from respin_ensemble.sampling.schedulers import StepSchedulers
from respin_ensemble.sampling.schedules import Schedule, leading_schedule, zero123_schedule
from respin_ensemble.sampling.stepper import OnStep, Sample, Stepper
from respin_ensemble.sampling.trajectory import Ask, Guidance, Latents, Path, Trajectory, guided

__all__ = [
    "Ask",
    "Family",
    "Forecast",
    "Guidance",
    "Latents",
    "OnStep",
    "Path",
    "Room",
    "Sample",
    "Schedule",
    "StepScheduler",
    "StepSchedulers",
    "Stepper",
    "Trajectory",
    "ddim",
    "ddim_step",
    "guided",
    "leading_schedule",
    "start",
    "zero123_schedule",
]
