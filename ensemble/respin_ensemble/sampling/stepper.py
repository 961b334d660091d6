"""Who drives the trajectories: the seam between a job and the calls of a UNet.

A job hands over its samples and gets their latents back; how samples share a call is the stepper's business.
`Lockstep` advances the samples of one job together. A scheduler that stacks the samples of every job is another
`Stepper`, and no stage would know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from respin.specs import Array, ModelSpec
from respin_ensemble.networks import Networks
from respin_ensemble.sampling.trajectory import Ask, Latents, Trajectory


@dataclass(frozen=True)
class Sample:
    """One picture in the making.

    Args:
        trajectory: where it goes, fresh.
        steps: how many it takes.
        conditions: the UNet's inputs besides what it is asked, by name, without batch axis, the same at every step.
    """

    trajectory: Trajectory
    steps: int
    conditions: Mapping[str, Array]


OnStep = Callable[[int, int], None]
"""Called with the count of steps done, and of all; it may raise, which stops the work."""


class Stepper(Protocol):
    """Takes samples from noise to latents."""

    def __call__(self, unet: ModelSpec, samples: Sequence[Sample], on_step: OnStep) -> list[Latents]:
        """Drive every trajectory to its end.

        Args:
            unet: takes what a trajectory asks (`Ask`) and each sample's conditions; gives `noise`.
            samples: all of one latent shape.
            on_step: called after each step.

        Returns:
            The clean latents, (4, h, w) each, in the order of `samples`.
        """
        ...


class Lockstep:
    """Advances the samples of one job together, one call of the UNet a step."""

    def __init__(self, networks: Networks) -> None:
        """Step with these networks."""
        self._networks = networks

    def __call__(self, unet: ModelSpec, samples: Sequence[Sample], on_step: OnStep) -> list[Latents]:
        """See `Stepper`."""
        finished: dict[int, Latents] = {}
        waiting = {index: next(sample.trajectory) for index, sample in enumerate(samples)}
        done, steps = 0, max(sample.steps for sample in samples)
        while waiting:
            active = {index: samples[index] for index in waiting}
            noise = self._predict(unet, list(waiting.values()), list(active.values()))
            waiting = {}
            for predicted, (index, sample) in zip(noise, active.items(), strict=True):
                try:
                    waiting[index] = sample.trajectory.send(predicted)
                except StopIteration as end:
                    finished[index] = end.value
            done += 1
            on_step(done, steps)
        return [finished[index] for index in range(len(samples))]

    def _predict(self, unet: ModelSpec, asked: list[Ask], samples: list[Sample]) -> Array:
        conditions = {name: np.stack([sample.conditions[name] for sample in samples]) for name in samples[0].conditions}
        return self._networks(
            unet,
            latents=np.stack([ask.latents for ask in asked]),
            timestep=np.array([[ask.timestep] for ask in asked], np.float32),
            guidance=np.array([[ask.guidance] for ask in asked], np.float32),
            **conditions,
        )["noise"]
