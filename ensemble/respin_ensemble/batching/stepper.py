"""The seam between a job and the calls of a UNet: samples in, clean latents out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from respin.specs import ModelSpec
from respin_ensemble.sampling.trajectory import Latents, Sample

OnStep = Callable[[int, int], None]
"""Progress callback, called in the job's own thread: steps done and total steps, over all samples of the job."""


class CancellationToken(Protocol):
    """The part of `respin_ensemble.pipeline.cancellation.Cancellation` that batching needs."""

    @property
    def requested(self) -> bool:
        """Whether the work is to stop; read before each call, so it must return at once."""
        ...

    def check(self) -> None:
        """Raise `Cancelled` if the work is to stop."""
        ...


class Stepper(Protocol):
    """Denoises the samples of one job."""

    def __call__(self, unet: ModelSpec, samples: Sequence[Sample], on_step: OnStep) -> Generator[dict[int, Latents]]:
        """Run every trajectory to its end.

        Args:
            unet: contract of the UNet: takes a `UNetInput` and the conditions of each sample; returns `noise`.
            samples: fresh samples of one latent shape.
            on_step: progress callback.

        Yields:
            The clean latents of the samples that have finished since the last yield, (4, h, w) by index.
        """
        ...
