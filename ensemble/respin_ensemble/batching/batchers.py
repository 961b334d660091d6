"""The step batchers of both UNets."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType

from respin.contracts.networks import UNETS
from respin.specs import ModelSpec
from respin_ensemble.batching.step_batcher import Capacity, StepBatcher
from respin_ensemble.batching.stepper import CancellationToken, OnStep
from respin_ensemble.metrics import Meter
from respin_ensemble.networks import Networks
from respin_ensemble.sampling.trajectory import Latents, Sample

NO_LIMITS: Mapping[str, int] = {}
"""Calls as large as the contracts allow."""


def with_largest_batch(unet: ModelSpec, most: int | None) -> ModelSpec:
    """Return a contract whose calls have at most so many samples.

    Args:
        unet: the contract.
        most: number of samples; None, or more than the contract allows = as many as that.
    """
    return unet if most is None else replace(unet, served_batch=min(most, unet.max_batch_size))


class StepBatchers:
    """One step batcher per UNet; a context manager that stops their threads.

    Args:
        networks: the networks of the set.
        capacity: limits of each batcher; None = the default.
        meter: receives the measurements of every call.
        most: samples of the largest call, by name of the UNet; without one, as many as the contract allows.
    """

    def __init__(
        self,
        networks: Networks,
        *,
        capacity: Capacity | None = None,
        meter: Meter | None = None,
        most: Mapping[str, int] = NO_LIMITS,
    ) -> None:
        self._by_unet = {
            unet.name: StepBatcher(
                networks, with_largest_batch(unet, most.get(unet.name)), capacity=capacity, meter=meter
            )
            for unet in UNETS.values()
        }

    def __getitem__(self, unet: ModelSpec) -> StepBatcher:
        """Return the batcher of one UNet."""
        return self._by_unet[unet.name]

    def __enter__(self) -> StepBatchers:
        """Return the batchers, which are already running."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the batchers."""
        self.close()

    def run(
        self,
        unet: ModelSpec,
        samples: Sequence[Sample],
        on_step: OnStep,
        *,
        priority: int = 0,
        finishing_s: float = 0.0,
        cancellation: CancellationToken | None = None,
    ) -> Generator[dict[int, Latents]]:
        """Run a job's samples through one UNet: see `StepBatcher.run`."""
        return self[unet].run(samples, on_step, priority=priority, finishing_s=finishing_s, cancellation=cancellation)

    def count_samples(self) -> dict[str, tuple[int, int]]:
        """Return the numbers of samples in progress and waiting, by UNet."""
        return {name: batcher.count_samples() for name, batcher in self._by_unet.items()}

    def close(self) -> None:
        """Fail all samples in progress and stop the threads."""
        for batcher in self._by_unet.values():
            batcher.close()
