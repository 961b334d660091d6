"""The engine without a server: pipeline, step batchers and one set of networks in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image

from respin.bundled import bundled
from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.request import RotationRequest
from respin.specs import ModelSpec
from respin_benchmarks.in_process.example_inputs import usual_inputs
from respin_benchmarks.in_process.rows import Interval
from respin_ensemble.batching.batchers import StepBatchers
from respin_ensemble.imaging.tensors import Picture
from respin_ensemble.metrics import InMemoryMeter
from respin_ensemble.networks import Networks
from respin_ensemble.pipeline.context import JobContext
from respin_ensemble.pipeline.events import JobEvent
from respin_ensemble.pipeline.rotate_object import rotate_object
from respin_ensemble.stages.novel_view import CameraProjection

SQUARE = (97, 0, 497, 400)
"""Of examples/coffee.png, px: enlarged to the photo of 512 x 512 px that is measured, the size of the
published figures of the inpainting."""

PHOTO = "512 x 512 px"

CUP = (87.0, 15.0, 424.0, 399.0)
"""The cup in that photo, px."""

BUSY = "respin_unet_busy_seconds_total"
INTERVALS = ("respin_stage_seconds", "respin_step_seconds")


def request_for_cup(
    *, steps: int, background_steps: int, views: int = 1, sampler: str = "ddim", seed: int = 0
) -> RotationRequest:
    """Return the request that is measured: the cup of examples/coffee.png, turned to so many sides."""
    return RotationRequest(
        _square_photo(),
        "coffee cup",
        azimuth=tuple(40.0 + 360.0 * view / views - 360.0 * (view > views // 2) for view in range(views)),
        polar=(-10.0,),
        box=CUP,
        seed=seed,
        sampler=sampler,
        background_sampler=sampler,
        steps=steps,
        background_steps=background_steps,
    )


@lru_cache
def _square_photo() -> bytes:
    with Image.open(bundled("examples") / "coffee.png") as file:
        return png(file.convert("RGB").crop(SQUARE).resize((512, 512), Image.Resampling.LANCZOS))


@dataclass
class JobOutcome:
    """One job that was done.

    Args:
        latency_s: from the photo's file to the last answer's.
        pictures: functions that encode the first view and the background, once the clock has stopped.
    """

    latency_s: float = 0.0
    pictures: dict[str, Callable[[], object]] = field(default_factory=dict)

    def picture(self, name: str) -> Picture:
        """Return a picture, (H, W, 3) uint8."""
        encoded = self.pictures[name]()
        assert isinstance(encoded, bytes)
        return np.asarray(Image.open(BytesIO(encoded)).convert("RGB"))


class IntervalMeter(InMemoryMeter):
    """A meter that also keeps when each stage and each call of a UNet was."""

    def __init__(self) -> None:
        super().__init__()
        self.intervals: list[Interval] = []

    def observe(self, name: str, value: float, label: str = "") -> None:
        """Keep an observation, which has just ended."""
        super().observe(name, value, label)
        if name in INTERVALS:
            ended_s = time.perf_counter()
            self.intervals.append(Interval(label, ended_s - value, ended_s))


class InProcessEngine:
    """Runs jobs; a context manager that ends its threads.

    Args:
        networks: to run.
        workers: jobs at the same time.
    """

    def __init__(self, networks: Networks, workers: int = 8) -> None:
        self.networks, self.meter = networks, IntervalMeter()
        self._jobs, self._stages = ThreadPoolExecutor(workers), ThreadPoolExecutor(workers)
        self._batchers = StepBatchers(networks, meter=self.meter)
        self._projection = CameraProjection(networks)

    def __enter__(self) -> InProcessEngine:
        """Return the engine."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads."""
        self._jobs.shutdown()
        self._stages.shutdown()
        self._batchers.close()

    def run_job(self, request: RotationRequest) -> JobOutcome:
        """Do one job; the answer's picture is encoded, as the server would send it."""
        outcome, began_s = JobOutcome(), time.perf_counter()

        def on_event(event: JobEvent) -> None:
            if "image" in event.results:
                event.results["image"]()
            for name in {"novel_view", "background"} & set(event.results):
                outcome.pictures.setdefault(name, event.results[name])

        context = JobContext(self.networks, self._batchers, self._stages, self._projection, meter=self.meter)
        rotate_object(context, request, on_event)
        outcome.latency_s = time.perf_counter() - began_s
        return outcome

    def run_burst(self, request: RotationRequest, jobs: int) -> list[JobOutcome]:
        """Do so many jobs at the same time, each with a seed of its own."""
        requests = [replace(request, seed=request.seed + number) for number in range(jobs)]
        return list(self._jobs.map(self.run_job, requests))

    def busy_s(self) -> tuple[float, float]:
        """Return how long Zero123's UNet and the inpainting's have been called so far."""
        return self.meter.values[BUSY, ZERO123_UNET.name], self.meter.values[BUSY, INPAINT_UNET.name]

    def warm(self, requests: Sequence[RotationRequest], largest: Mapping[ModelSpec, int]) -> None:
        """Bring every shape of these jobs three times: kernels are chosen, graphs captured, graphs replayed.

        Args:
            requests: like the jobs to come, with few steps.
            largest: batch of each UNet; it comes first, so that smaller ones fit into its scratch memory.
        """
        for unet, most in largest.items():
            for batch in range(most, 0, -1):
                arrays = usual_inputs(unet, self.networks.sizes, batch)
                for _ in range(3):
                    self.networks(unet, **arrays)
        for request in requests:
            for _ in range(3):
                self.run_job(request)


def png(image: Image.Image) -> bytes:
    """Encode a picture as a PNG file."""
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
