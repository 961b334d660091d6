"""The seam between a job and the calls of a UNet.

A job hands over its samples and gets their latents back as they are done; how samples share a call is the stepper's
business.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from respin.specs import ModelSpec
from respin_ensemble.sampling.trajectory import Latents, Sample

OnStep = Callable[[int, int], None]
"""Called, in the thread of whoever drives, with the count of steps done by all samples together, and of all their
steps; it may raise, which stops the work."""


class Stepper(Protocol):
    """Takes samples from noise to latents."""

    def __call__(self, unet: ModelSpec, samples: Sequence[Sample], on_step: OnStep) -> Generator[dict[int, Latents]]:
        """Drive every trajectory to its end.

        Args:
            unet: takes what a trajectory asks (`Ask`) and each sample's conditions; gives `noise`.
            samples: all of one latent shape.
            on_step: called after each step.

        Yields:
            The clean latents of those samples that have ended since, (4, h, w) by index.
        """
        ...
