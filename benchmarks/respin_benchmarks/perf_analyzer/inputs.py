"""perf_analyzer's input files: what it sends, made from contracts and a photo."""

from __future__ import annotations

import base64
import json
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from respin.bundled import bundled_path
from respin.contracts import JOBS, NETWORKS
from respin.lengths import usual_lengths
from respin.model_set import Sizes
from respin.request import RotationRequest
from respin.specs import Array, DType
from respin_benchmarks.startup import CUP
from respin_export.example import example_inputs

QUALITY = 90
"""Quality of the photo's JPEG file, which is small enough to be kept beside the code."""

SEEDS = range(4)


def job_input(job: str) -> dict[str, Any]:
    """Return what perf_analyzer sends to a job: the same photo, in turn with one of `SEEDS`."""
    with Image.open(bundled_path("examples") / "coffee.png") as picture:
        file = BytesIO()
        picture.convert("RGB").save(file, "JPEG", quality=QUALITY)
    angles: dict[str, Any] = {} if job == "segment_object" else {"azimuth": (40.0,), "polar": (-10.0,)}
    kinds = {tensor.name: tensor.dtype for tensor in JOBS[job].inputs}
    entries = []
    for seed in SEEDS:
        arrays = RotationRequest(file.getvalue(), "coffee cup", box=CUP, seed=seed, **angles).to_arrays()
        entries.append({name: _tensor(array, kinds[name]) for name, array in arrays.items() if name in kinds})
    return {"data": entries}


def network_input(network: str, sizes: Sizes) -> dict[str, Any]:
    """Return what perf_analyzer sends to a network: one example, at the usual lengths within the set's picture sizes.

    Args:
        network: by name.
        sizes: sizes of the set that is served.
    """
    spec = NETWORKS[network]
    arrays = example_inputs(spec, sizes, batch=1, lengths=usual_lengths(spec, sizes), seed=1)
    kinds = {tensor.name: tensor.dtype for tensor in spec.inputs}
    return {"data": [{name: _tensor(array[0], kinds[name]) for name, array in arrays.items()}]}


def _tensor(array: Array, kind: DType) -> dict[str, Any]:
    if kind is DType.BYTES:
        # Each text or file with its length before it, as the protocol's raw contents have it.
        raw = b"".join(struct.pack("<I", len(text)) + text for text in map(_bytes, array.ravel()))
    else:
        raw = np.ascontiguousarray(array, kind.numpy).tobytes()
    return {"b64": base64.b64encode(raw).decode(), "shape": list(array.shape)}


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


def write_input(made: dict[str, Any], path: Path) -> None:
    """Write an input file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made, indent=1) + "\n")
