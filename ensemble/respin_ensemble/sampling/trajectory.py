"""What a sampler and whoever drives it say to each other."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from respin.specs import Array

Latents = NDArray[np.float32]

Path = Generator[tuple[Latents, float], Latents, Latents]
"""One sample's way through its noise levels: it yields (latents, timestep), is sent the noise predicted for them, and
returns the clean latents. This is what a sampler is; it knows nothing of guidance."""


class Ask(NamedTuple):
    """What the UNet is asked at one step of one sample.

    Args:
        latents: (4, h, w).
        timestep: 0..999, possibly between two of the training's.
        guidance: classifier-free guidance scale; 1 gives the conditional prediction alone.
    """

    latents: Latents
    timestep: float
    guidance: float


Trajectory = Generator[Ask, Latents, Latents]
"""One sample on its way from noise to picture: it yields what to ask, is sent the noise predicted, and returns the
clean latents. It calls no network itself, so that whoever drives it may stack many samples, at different steps, into
one call."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture in the making.

    Args:
        trajectory: where it goes, fresh.
        steps: how many it takes.
        shape: of its latents; samples of one shape can share a call.
        conditions: the UNet's inputs besides what it is asked, by name, without batch axis, the same at every step.
    """

    trajectory: Trajectory
    steps: int
    shape: tuple[int, ...]
    conditions: Mapping[str, Array]


@dataclass(frozen=True)
class Guidance:
    """How strongly a sample is guided, and in which part of its way.

    Guidance may harm at the noisiest levels and matter little at the cleanest (Kynkäänniemi et al. 2024,
    arXiv:2404.07724, who cut the interval in noise levels; ours is in steps, whatever levels the sampler visits).

    Args:
        scale: inside the interval; outside it is 1.
        start: share of the steps after which guidance begins, 0..1.
        end: share of the steps at which it ends, 0..1, not below `start`.
    """

    scale: float
    start: float = 0.0
    end: float = 1.0

    def at(self, position: int, calls: int) -> float:
        """The scale at step `position` (from 0) of `calls`."""
        return self.scale if self.start <= position / calls < self.end else 1.0


def guided(path: Path, guidance: Guidance, calls: int) -> Trajectory:
    """A sampler's way with the guidance of each of its `calls` steps."""
    latents, timestep = next(path)
    position = 0
    while True:
        predicted = yield Ask(latents, timestep, guidance.at(position, calls))
        try:
            latents, timestep = path.send(predicted)
        except StopIteration as end:
            clean: Latents = end.value
            return clean
        position += 1
