"""The step schedulers of both UNets, and what a job sees of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from types import TracebackType

from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.specs import ModelSpec
from respin_ensemble.batching.step_batcher import Room, StepScheduler, Stopped
from respin_ensemble.batching.stepper import OnStep
from respin_ensemble.metrics import Meter
from respin_ensemble.networks import Networks
from respin_ensemble.sampling.trajectory import Latents, Sample

UNETS = (ZERO123_UNET, INPAINT_UNET)


@dataclass(frozen=True)
class _JobsStepper:
    """The schedulers as one job uses them."""

    schedulers: StepSchedulers
    priority: int
    stopped: Stopped

    def __call__(self, unet: ModelSpec, samples: Sequence[Sample], on_step: OnStep) -> Generator[dict[int, Latents]]:
        scheduler = self.schedulers[unet]
        return scheduler.drive(samples, on_step, priority=self.priority, stopped=self.stopped)


class StepSchedulers:
    """A step scheduler for each UNet; a context manager that ends their threads.

    Args:
        networks: to call.
        room: how many samples each takes in.
        meter: is told of every call.
    """

    def __init__(self, networks: Networks, *, room: Room | None = None, meter: Meter | None = None) -> None:
        self._by_unet = {unet.name: StepScheduler(networks, unet, room=room, meter=meter) for unet in UNETS}

    def __getitem__(self, unet: ModelSpec) -> StepScheduler:
        """The scheduler of one UNet."""
        return self._by_unet[unet.name]

    def __enter__(self) -> StepSchedulers:
        """They run already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `close`."""
        self.close()

    def samples(self) -> dict[str, tuple[int, int]]:
        """By UNet: how many samples are on their way, and how many wait."""
        return {name: scheduler.samples() for name, scheduler in self._by_unet.items()}

    def close(self) -> None:
        """Fail whatever is under way, and end the threads."""
        for scheduler in self._by_unet.values():
            scheduler.close()

    def stepper(self, *, priority: int = 0, stopped: Stopped = lambda: False) -> _JobsStepper:
        """A `Stepper` for one job.

        Args:
            priority: of its samples; a lower number goes first.
            stopped: whether nobody waits for the job any more.
        """
        return _JobsStepper(self, priority, stopped)
