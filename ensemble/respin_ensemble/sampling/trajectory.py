"""Messages between a sampler and the code that runs the UNet."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from respin.specs import Array

Latents = NDArray[np.float32]

Sampler = Generator[tuple[Latents, float], Latents, Latents]
"""A sampler at work on one sample: yields (latents, timestep), receives the predicted noise, returns clean latents.

It knows nothing about guidance."""


class UNetInput(NamedTuple):
    """Input of the UNet at one step of one sample.

    Args:
        latents: (4, h, w) float32.
        timestep: 0..999, possibly between two training timesteps.
        guidance: classifier-free guidance scale; 1 gives the conditional prediction alone.
    """

    latents: Latents
    timestep: float
    guidance: float


Trajectory = Generator[UNetInput, Latents, Latents]
"""The denoising of one sample: yields the UNet's input, receives the predicted noise, returns clean latents.

It calls no network itself, so its caller may stack many samples, at different steps, into one call."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One latent on its way through a sampler.

    Args:
        trajectory: a fresh trajectory.
        steps: number of calls of the UNet that it takes.
        shape: shape of its latents, (4, h, w); samples of one shape can share a call.
        conditions: the other inputs of the UNet by name, without batch axis; constant over the steps.
    """

    trajectory: Trajectory
    steps: int
    shape: tuple[int, ...]
    conditions: Mapping[str, Array]


@dataclass(frozen=True)
class Guidance:
    """A guidance scale and the interval of the steps in which it applies.

    Guidance can harm at the noisiest levels and matters little at the cleanest (Kynkäänniemi et al. 2024,
    arXiv:2404.07724, who define the interval in noise levels; here it is in steps, whatever levels the sampler visits).

    Args:
        scale: scale inside the interval; outside it is 1.
        start: share of the steps after which guidance begins, 0..1.
        end: share of the steps at which guidance ends, 0..1, not below `start`.
    """

    scale: float
    start: float = 0.0
    end: float = 1.0

    def scale_at(self, step: int, steps: int) -> float:
        """Return the scale of one step, counted from 0."""
        return self.scale if self.start <= step / steps < self.end else 1.0


@dataclass(frozen=True)
class SamplingParams:
    """How a sample is denoised.

    Args:
        sampler: a name of `respin.request.SAMPLERS`.
        steps: requested steps; DDIM on Zero123's schedule may run others (`zero123_schedule`).
        guidance: classifier-free guidance.
        eta: noise that DDIM adds back, 0 (deterministic) to 1; ignored by the other samplers.
    """

    sampler: str
    steps: int
    guidance: Guidance
    eta: float = 0.0


def apply_guidance(sampler: Sampler, guidance: Guidance, steps: int) -> Trajectory:
    """Add the guidance scale to each of a sampler's `steps` inputs."""
    latents, timestep = next(sampler)
    step = 0
    while True:
        predicted = yield UNetInput(latents, timestep, guidance.scale_at(step, steps))
        try:
            latents, timestep = sampler.send(predicted)
        except StopIteration as end:
            clean: Latents = end.value
            return clean
        step += 1
