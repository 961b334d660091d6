"""Run one job in this process and print by how many bytes it raised its peak of resident memory.

Usage: measured_job.py '{"width": 4000, "height": 3000, "views": 1, "sizes": {...}}' ADDRESS_SPACE_BYTES
"""

import json
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import FakeNetworks

from respin.model_set import Sizes
from respin.request import RotationRequest
from respin_ensemble.batching.batchers import StepBatchers
from respin_ensemble.pipeline.context import Caches, JobContext
from respin_ensemble.pipeline.rotate_object import rotate_object
from respin_ensemble.stages.novel_view import CameraProjection

STATUS = Path("/proc/self/status")


def status_bytes(name: str) -> int:
    (line,) = [each for each in STATUS.read_text().splitlines() if each.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


def photo_of(width: int, height: int) -> bytes:
    """A photo that does not compress."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    return file.getvalue()


def request_for(width: int, height: int, views: int, fit: str = "view") -> RotationRequest:
    moves = tuple(float(view) for view in range(views))
    box = (0.0, 0.0, float(width), float(height))
    return RotationRequest(
        photo_of(width, height), "laptop", azimuth=moves, box=box, steps=2, background_steps=2, fit=fit
    )


def main(asked: dict, address_space_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, address_space_bytes))
    networks = FakeNetworks(Sizes(**asked.pop("sizes")))
    # The object fills the photo, and its novel view.
    networks.box = np.array([0.5, 0.5, 0.98, 0.98], np.float32)

    def encode_all(event):
        for make in event.results.values():
            make()

    with StepBatchers(networks) as batchers, ThreadPoolExecutor(1) as executor:
        context = JobContext(networks, batchers, executor, CameraProjection(networks), Caches(2**28))
        # What every process needs once is no memory of the job.
        rotate_object(context, request_for(160, 120, 1), encode_all)
        request = request_for(**asked)
        Path("/proc/self/clear_refs").write_text("5")
        before = status_bytes("VmRSS")
        rotate_object(context, request, encode_all)
    print(status_bytes("VmHWM") - before)


main(json.loads(sys.argv[1]), int(sys.argv[2]))
