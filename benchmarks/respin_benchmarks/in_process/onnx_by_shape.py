"""ONNX Runtime on the CPU with a session for each shape: what one session for any shape is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from respin.model_set import Sizes
from respin.specs import BATCH_NAME, Axis, ModelSpec
from respin_benchmarks.in_process.by_shape import ByShape, Shape
from respin_ensemble.networks import NetworkCall
from respin_ensemble.networks.onnx import CpuSession, is_one_by_one


def onnx_by_shape(path: Path, spec: ModelSpec, sizes: Sizes) -> ByShape:
    """A network run by ONNX Runtime, with a session for each shape.

    Args:
        path: its model.onnx.
        spec: its contract.
        sizes: of its set.
    """

    def prepared(shapes: Mapping[str, Shape]) -> NetworkCall:
        lengths = {BATCH_NAME: 1 if is_one_by_one(path, spec) else shapes[spec.inputs[0].name][0]}
        for tensor in spec.inputs:
            for axis, length in zip(sizes.shape(tensor.shape), shapes[tensor.name][1:], strict=True):
                if isinstance(axis, Axis):
                    lengths[axis.name] = length
        return CpuSession(path, spec, lengths=lengths)

    return ByShape(spec, prepared)
