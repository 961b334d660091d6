"""The memory of one job, measured in a process of its own, and what admission counts for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from respin.model_set import Sizes
from respin.request import RotationRequest
from respin_ensemble.serving.job_size import job_size

ADDRESS_SPACE_BYTES = 4 * 2**30
"""A job that took more would end its process with a MemoryError."""

SIZES = {
    "sam_side": 256,
    "view_side": 256,
    "inpaint_side": 512,
    "detection_short_side": 160,
    "detection_long_side": 1333,
}

SHARE = 0.65
"""Share of the object in its square: the square is half as long again as the photo."""


def peak_bytes(width: int, height: int, **fields) -> int:
    """Return by how much a job raised the peak of its process."""
    script = Path(__file__).with_name("measured_job.py")
    asked = {"width": width, "height": height, "sizes": {**SIZES, "object_share": SHARE}, **fields}
    done = subprocess.run(
        [sys.executable, script, json.dumps(asked), str(ADDRESS_SPACE_BYTES)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


@pytest.mark.parametrize(
    ("width", "height", "fields"),
    [
        (4096, 512, {"views": 2, "fit": "view"}),
        (2000, 1500, {"views": 1, "fit": "view"}),
        (2000, 1500, {"views": 0}),
        (160, 120, {"views": 4}),
    ],
    ids=["a wide photo", "a large photo", "no view", "a small photo"],
)
def test_a_job_takes_no_more_memory_than_admission_counts(width, height, fields):
    request = RotationRequest(b"photo", "laptop", azimuth=(10.0,) * fields["views"])
    counted = job_size(request, width * height, {"image"}, Sizes(**SIZES, object_share=SHARE), collected=False)
    assert peak_bytes(width, height, **fields) <= counted.working_bytes
