"""Whether an exported graph computes what its module computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from respin.specs import Array, ModelSpec
from respin_export.errors import ExportMismatch

TOLERANCE = 2e-5
"""Greatest difference, as a share of the greatest magnitude; independent float32 code differs by 1e-6..3e-6."""

MATCHED_QUERIES = 0.99
"""Share of GroundingDINO's queries that must be found again: a swap of two near-equal ranks changes both."""

Comparison = Callable[[ModelSpec, Sequence[Array], Sequence[Array]], dict[str, float]]
"""Refuses outputs that differ, and says by how much each of them does."""


def compare_fp32(spec: ModelSpec, got: Sequence[Array], wanted: Sequence[Array]) -> dict[str, float]:
    """Refuse outputs of a float32 graph that differ by more than float noise.

    Args:
        spec: the network's contract.
        got: the graph's outputs.
        wanted: the module's.

    Returns:
        the error of each output: a share of its greatest magnitude, or of the image for boxes.

    Raises:
        ExportMismatch: they differ, are NaN, or have another shape.
    """
    return _COMPARISONS.get(spec.name, compare_tensors)(spec, got, wanted)


def graph_outputs(path: Path, spec: ModelSpec, inputs: Mapping[str, Array]) -> list[Array]:
    """Run a graph in ONNX Runtime on the CPU.

    Args:
        path: the ONNX file.
        spec: the network's contract.
        inputs: with a leading batch axis, best of other lengths than were traced.

    Raises:
        ContractMismatch: an output's dtype or shape is not the contract's.
        ExportMismatch: ONNX Runtime cannot load the graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # One run does not repay a second copy of the weights, packed, fused, or made float32 out of float16.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors have no base in common
        raise ExportMismatch(f"{spec.name}: ONNX Runtime cannot load the exported graph: {error}") from error
    got: list[Array] = session.run([tensor.name for tensor in spec.outputs], dict(inputs))
    for tensor, array in zip(spec.outputs, got, strict=True):
        tensor.check(array, batched=True, owner=spec.name)
    return got


def module_outputs(module: nn.Module, inputs: Mapping[str, Array], device: str = "cpu") -> list[Array]:
    """What a module makes of numpy inputs, always as a list.

    Args:
        module: on the device.
        inputs: with a leading batch axis.
        device: torch's name of it.
    """
    with torch.inference_mode():
        outputs = module(**{name: torch.from_numpy(array).to(device) for name, array in inputs.items()})
    return [output.cpu().numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def compare_tensors(spec: ModelSpec, got: Sequence[Array], wanted: Sequence[Array]) -> dict[str, float]:
    """Refuse outputs that differ by more than float noise.

    Raises:
        ExportMismatch: they differ, are NaN, or have another shape.
    """
    errors = {}
    for tensor, ours, theirs in zip(spec.outputs, got, wanted, strict=True):
        if ours.shape != theirs.shape:
            raise ExportMismatch(
                f"{spec.name}: '{tensor.name}' has shape {ours.shape}, the module's {theirs.shape}; "
                "the export fixed an axis that must stay free"
            )
        largest, difference = float(np.abs(theirs).max()), float(np.abs(ours - theirs).max())
        error = difference / (largest or 1.0)
        # Not `error > TOLERANCE`: that would let NaN through.
        if not error <= TOLERANCE:
            raise ExportMismatch(
                f"{spec.name}: '{tensor.name}' differs from the module's by {difference:.3g}, "
                f"allowed is {TOLERANCE * largest:.3g}; the export changed the computation"
            )
        errors[tensor.name] = error
    return errors


def compare_detections(spec: ModelSpec, got: Sequence[Array], wanted: Sequence[Array]) -> dict[str, float]:
    """Refuse other candidates than the module's, in whatever order of queries.

    Args:
        spec: GroundingDINO's contract.
        got: logits (B, 900, 256) and boxes (B, 900, 4).
        wanted: the same.

    Raises:
        ExportMismatch: fewer than 99 % of the module's (box, score) pairs are there, or logits are NaN.
    """
    if any(np.isnan(array).any() for array in got):
        raise ExportMismatch(f"{spec.name}: the graph's outputs hold NaN; the export changed the computation")
    errors = []
    for ours, theirs in zip(candidates(*got), candidates(*wanted), strict=True):
        nearest = np.abs(ours[None] - theirs[:, None]).max(axis=-1).min(axis=1)
        matched = np.mean(nearest <= TOLERANCE)
        if not matched >= MATCHED_QUERIES:
            raise ExportMismatch(
                f"{spec.name}: only {matched:.1%} of the module's candidates are among the graph's, wanted "
                f"{MATCHED_QUERIES:.0%}; the export changed the computation"
            )
        errors.append(float(np.quantile(nearest, MATCHED_QUERIES)))
    return {"boxes and scores": max(errors)}


def candidates(logits: Array, boxes: Array) -> Array:
    """(B, 900, 5): the box and the best token's probability of each query."""
    score = 1 / (1 + np.exp(-logits.max(axis=-1, keepdims=True)))
    return np.concatenate([boxes, score], axis=-1)


_COMPARISONS: dict[str, Comparison] = {"grounding_dino": compare_detections}
