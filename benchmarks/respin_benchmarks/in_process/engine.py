"""The job that is measured, and the engine without a server: what `respin serve` loads, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from PIL import Image

from respin.bundled import bundled_path
from respin.contracts import ROTATE_OBJECT_STREAM
from respin.contracts.networks import UNETS
from respin.limits import EngineLimits
from respin.model_set import ModelSet
from respin.profiles import PROFILES
from respin.request import RotationRequest
from respin_benchmarks.in_process.machine import GpuMemory, Machine
from respin_ensemble.batching.batchers import StepBatchers
from respin_ensemble.metrics import InMemoryMeter
from respin_ensemble.networks.in_process import Loaded, Source, load_networks
from respin_ensemble.pipeline.context import JobContext
from respin_ensemble.pipeline.events import JobEvent
from respin_ensemble.pipeline.rotate_object import rotate_object
from respin_ensemble.stages.novel_view import CameraProjection
from respin_server.assemble import assemble
from respin_server.choice import Choice

SQUARE = (97, 0, 497, 400)
"""Square of examples/coffee.png, px: enlarged to the photo of 512 x 512 px that is measured, the size of the
published figures of the inpainting."""

PHOTO = "512 x 512 px"

CUP = (87.0, 15.0, 424.0, 399.0)
"""The cup in that photo, px."""

NO_CACHES = EngineLimits(cache_mib=0)


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
    with Image.open(bundled_path("examples") / "coffee.png") as file:
        return png(file.convert("RGB").crop(SQUARE).resize((512, 512), Image.Resampling.LANCZOS))


def png(image: Image.Image) -> bytes:
    """Encode a picture as a PNG file."""
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


class Way(Protocol):
    """A way of doing jobs: through a server, or in this process."""

    name: str  # "served" or "engine"
    ready_s: float  # what its start took

    def run_job(self, request: RotationRequest, outputs: Sequence[str]) -> dict[str, bytes]:
        """Do one job; return the first picture of each output, as encoded for the caller."""

    def busy_s(self) -> tuple[float, ...]:
        """Return how long each UNet has been called so far."""

    def memory(self) -> tuple[GpuMemory, str]:
        """Return the memory that it takes, and by process in words; empty = there is one process."""


class InProcessEngine:
    """Runs jobs as the server's engine does; see `open_engine`.

    Args:
        loaded: networks, warm, and the batches that pay.
        memory: reads what they take.
        workers: jobs at the same time.
    """

    name = "engine"

    def __init__(self, loaded: Loaded, memory: Callable[[], GpuMemory], workers: int = 8) -> None:
        self.networks, self.ready_s, self._memory = loaded.networks, 0.0, memory
        self._meter, self._stages = InMemoryMeter(), ThreadPoolExecutor(workers)
        self._batchers = StepBatchers(loaded.networks, meter=self._meter, most=loaded.useful_batch)
        self._projection = CameraProjection(loaded.networks)

    def close(self) -> None:
        """End the threads."""
        self._stages.shutdown()
        self._batchers.close()

    def run_job(self, request: RotationRequest, outputs: Sequence[str]) -> dict[str, bytes]:
        """See `Way`; every view is encoded, as the server would send it."""
        made: dict[str, bytes] = {}

        def on_event(event: JobEvent) -> None:
            for name in set(outputs) & set(event.results):
                encoded = event.results[name]()
                assert isinstance(encoded, bytes)
                made.setdefault(name, encoded)

        context = JobContext(self.networks, self._batchers, self._stages, self._projection, meter=self._meter)
        rotate_object(context, request, on_event)
        return made

    def busy_s(self) -> tuple[float, ...]:
        """See `Way`."""
        return tuple(self._meter.values["respin_unet_busy_seconds_total", unet] for unet in UNETS)

    def memory(self) -> tuple[GpuMemory, str]:
        """See `Way`."""
        return self._memory(), ""


@contextmanager
def open_engine(
    choice: Choice, machine: Machine, report: Callable[[str], None], taken: GpuMemory
) -> Iterator[InProcessEngine]:
    """Load what `respin serve` would load for a choice, and warm it up the same way.

    Args:
        choice: runtime, device, and the folder of set or checkpoints.
        machine: that it runs on.
        report: receives each step before it begins.
        taken: memory in use before.
    """
    began_s = time.perf_counter()
    with TemporaryDirectory() as folder:
        repository = Path(folder) / "models"
        assemble(
            bundled_path("model_repository"), choice.folder, PROFILES["local"], repository, NO_CACHES, choice=choice
        )
        version = repository / ROTATE_OBJECT_STREAM.name / "1"
        source = Source(version, ModelSet.load(version), choice.in_process, NO_CACHES.unet_batch)
        engine = InProcessEngine(load_networks(source, report), partial(machine.memory_since, taken))
        engine.ready_s = time.perf_counter() - began_s
        try:
            yield engine
        finally:
            engine.close()
