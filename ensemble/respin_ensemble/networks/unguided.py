"""Calls of UNets without their unconditional half, where the graph takes less `guidance` than samples."""

from __future__ import annotations

from collections.abc import Mapping

from respin.contracts.networks import GUIDED
from respin.onnx_runtime import onnxruntime
from respin.specs import Array


def without_guidance(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
    """Return the inputs of a UNet without guidance scales if all are 1, which needs half of the arithmetic."""
    guidance = arrays["guidance"]
    return {**arrays, "guidance": guidance[:0]} if (guidance == 1).all() else arrays


def takes_fewer_guidance(session: onnxruntime.InferenceSession) -> bool:
    """Return whether a graph takes less `guidance` than samples (`respin.contracts.networks.GUIDED`)."""
    return any(value.name == "guidance" and value.shape[0] == GUIDED for value in session.get_inputs())
