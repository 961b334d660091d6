"""The engine without a server: pipeline, step batchers and one set of networks in this process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import BytesIO
from types import TracebackType

import numpy as np
from PIL import Image

from respin.bundled import bundled
from respin.contracts.networks import INPAINT_UNET, ZERO123_UNET
from respin.request import RotationRequest
from respin.specs import ModelSpec
from respin_benchmarks.in_process.network_runs import usual_inputs
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
"""Of examples/coffee.png, px: what is enlarged to the photo of 512 x 512 px that is measured, the size that published
figures of the inpainting are for."""

PHOTO = "512 x 512 px"

CUP = (87.0, 15.0, 424.0, 399.0)
"""The cup in that photo, px."""

BUSY = "respin_unet_busy_seconds_total"
INTERVALS = ("respin_stage_seconds", "respin_step_seconds")


def request_for_cup(
    *, steps: int, background_steps: int, views: int = 1, sampler: str = "ddim", seed: int = 0
) -> RotationRequest:
    """The job that is measured: the cup of examples/coffee.png turned to so many sides."""
    with Image.open(bundled("examples") / "coffee.png") as file:
        square = file.convert("RGB").crop(SQUARE).resize((512, 512), Image.Resampling.LANCZOS)
    return RotationRequest(
        png(square),
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


@dataclass
class Outcome:
    """One job that was done.

    Args:
        latency_s: from the photo's file to the last answer's.
        pictures: what makes the first view and the background, once the clock has stopped.
    """

    latency_s: float = 0.0
    pictures: dict[str, Callable[[], object]] = field(default_factory=dict)

    def picture(self, name: str) -> Picture:
        """(H, W, 3) uint8."""
        encoded = self.pictures[name]()
        assert isinstance(encoded, bytes)
        return np.asarray(Image.open(BytesIO(encoded)).convert("RGB"))


class Trace(InMemoryMeter):
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
        self.networks, self.trace = networks, Trace()
        self._pools = [ThreadPoolExecutor(workers) for _ in range(2)]
        self._batchers = StepBatchers(networks, meter=self.trace)
        self._projection = CameraProjection(networks)

    def __enter__(self) -> InProcessEngine:
        """It is ready."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the threads."""
        for pool in self._pools:
            pool.shutdown()
        self._batchers.close()

    def job(self, request: RotationRequest) -> Outcome:
        """Do one job; the answer's picture is encoded, as the server would send it."""
        outcome, began_s = Outcome(), time.perf_counter()

        def report(event: JobEvent) -> None:
            if "image" in event.results:
                event.results["image"]()
            for name in {"novel_view", "background"} & set(event.results):
                outcome.pictures.setdefault(name, event.results[name])

        context = JobContext(self.networks, self._batchers, self._pools[1], self._projection, meter=self.trace)
        rotate_object(context, request, report)
        outcome.latency_s = time.perf_counter() - began_s
        return outcome

    def burst(self, request: RotationRequest, jobs: int) -> list[Outcome]:
        """So many jobs at the same time, each with a seed of its own."""
        requests = [replace(request, seed=request.seed + number) for number in range(jobs)]
        return list(self._pools[0].map(self.job, requests))

    def busy_s(self) -> tuple[float, float]:
        """How long Zero123's UNet and the inpainting's have been called so far."""
        return self.trace.values[BUSY, ZERO123_UNET.name], self.trace.values[BUSY, INPAINT_UNET.name]

    def warm(self, requests: Sequence[RotationRequest], largest: Mapping[ModelSpec, int]) -> None:
        """Let every shape that these jobs bring be seen three times: kernels chosen, graph captured, replayed.

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
                self.job(request)


def median_latency_s(outcomes: Sequence[Outcome]) -> float:
    """Of several jobs."""
    return statistics.median(outcome.latency_s for outcome in outcomes)


def png(image: Image.Image) -> bytes:
    """A picture's file."""
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def psnr_db(one: Picture, other: Picture) -> float:
    """Peak signal-to-noise ratio of two pictures; infinite where they are the same."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
