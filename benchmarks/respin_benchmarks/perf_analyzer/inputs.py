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

from respin.bundled import bundled
from respin.contracts import JOBS, NETWORKS
from respin.lengths import usual_lengths
from respin.model_set import Sizes
from respin.request import RotationRequest
from respin.specs import Array, DType
from respin_benchmarks.startup import CUP
from respin_export.example import example_inputs

QUALITY = 90
"""Of the photo's JPEG file, small enough to be kept beside the code."""


def job_input(job: str, *, seeds: int = 4, steps: int | None = None) -> dict[str, Any]:
    """What perf_analyzer sends to a job: the same photo, each request with another seed.

    Args:
        job: by name.
        seeds: how many requests there are before the first comes again.
        steps: of both samplers; None = the request's defaults, which are not sent.
    """
    with Image.open(bundled("examples") / "coffee.png") as picture:
        file = BytesIO()
        picture.convert("RGB").save(file, "JPEG", quality=QUALITY)
    few: dict[str, Any] = {} if steps is None else {"steps": steps, "background_steps": steps}
    return {"data": [_entry(job, file.getvalue(), seed, few) for seed in range(seeds)]}


def _entry(job: str, photo: bytes, seed: int, few: dict[str, Any]) -> dict[str, Any]:
    angles: dict[str, Any] = {} if job == "segment_object" else {"azimuth": (40.0,), "polar": (-10.0,)}
    request = RotationRequest(photo, "coffee cup", box=CUP, seed=seed, **angles, **few)
    kinds = {tensor.name: tensor.dtype for tensor in JOBS[job].inputs}
    arrays = {name: array for name, array in request.to_arrays().items() if name in kinds}
    return {name: _tensor(array, kinds[name]) for name, array in arrays.items()}


def network_input(network: str, sizes: Sizes) -> dict[str, Any]:
    """What perf_analyzer sends to a network: one example, at the usual lengths within the set's picture sizes.

    Args:
        network: by name.
        sizes: of the set that is served.
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


def write_input(made: dict[str, Any], path: Path) -> Path:
    """Write an input file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made, indent=1) + "\n")
    return path
