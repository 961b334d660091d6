"""Run graphs and modules, and compare their float32 outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from respin.onnx_runtime import onnxruntime
from respin.specs import Array, ModelSpec
from respin_export.deviation import Deviation, NamedArrays, check_deviations
from respin_export.errors import ExportMismatch

TOLERANCE = 2e-5
"""Largest difference, as a share of the largest magnitude; independent float32 code differs by 1e-6..3e-6."""

MATCHED_QUERIES = 0.99
"""Share of GroundingDINO's queries that must match: a swap of two nearly equal ranks changes both."""


def compare_fp32(
    spec: ModelSpec, got: Sequence[Array], wanted: Sequence[Array], *, gated: bool = True
) -> dict[str, float]:
    """Check the outputs of a float32 graph against those of its module, and return the error of each.

    Raises:
        ExportMismatch: they differ by more than float noise, are NaN, or have another shape.
    """
    deviations = deviations_fp32(spec.name, got, outputs_by_name(spec, wanted))
    return check_deviations(spec.name, deviations, "the export changed the computation", gated=gated)


def outputs_by_name(spec: ModelSpec, outputs: Sequence[Array]) -> dict[str, Array]:
    """Return outputs by their names in the contract."""
    return {tensor.name: array for tensor, array in zip(spec.outputs, outputs, strict=True)}


def deviations_fp32(network: str, got: Sequence[Array], wanted: NamedArrays) -> list[Deviation]:
    """Measure the deviation of float32 outputs from float32 references.

    Args:
        network: name of the network; GroundingDINO's candidates are compared as a set.
        got: the outputs.
        wanted: references by name, in the same order.

    Returns:
        for each output the largest difference as a share of the largest magnitude; for GroundingDINO the largest
        difference of 99 % of its candidates, in box (share of the image) and score.

    Raises:
        ExportMismatch: an output has another shape.
    """
    check_shapes(network, got, wanted)
    if network == "grounding_dino":
        return [_candidates_deviation(got, list(wanted.values()))]
    return [_share_of_greatest(name, ours, theirs) for ours, (name, theirs) in zip(got, wanted.items(), strict=True)]


def check_shapes(network: str, got: Sequence[Array], wanted: NamedArrays) -> None:
    """Check that outputs have the shapes of their references.

    Raises:
        ExportMismatch: one has another shape.
    """
    for ours, (name, theirs) in zip(got, wanted.items(), strict=True):
        if ours.shape != theirs.shape:
            raise ExportMismatch(
                f"{network}: '{name}' has shape {ours.shape}, wanted {theirs.shape}; "
                "the export fixed an axis that must stay free"
            )


def graph_outputs(path: Path, spec: ModelSpec, inputs: Mapping[str, Array]) -> list[Array]:
    """Run a graph in ONNX Runtime on the CPU, and check its outputs against the contract.

    Args:
        path: the ONNX file.
        spec: the network's contract.
        inputs: arrays with a leading batch axis, preferably of other lengths than the traced ones.

    Raises:
        ContractMismatch: an output's dtype or shape is not the contract's.
        ExportMismatch: ONNX Runtime cannot load the graph.
    """
    got = run_graph(path, spec, inputs)
    for tensor, array in zip(spec.outputs, got, strict=True):
        tensor.check(array, batched=True, owner=spec.name)
    return got


def run_graph(
    path: Path, spec: ModelSpec, inputs: Mapping[str, Array], provider: str = "CPUExecutionProvider"
) -> list[Array]:
    """Run a graph in ONNX Runtime.

    Args:
        path: the ONNX file.
        spec: the network's contract.
        inputs: arrays with a leading batch axis.
        provider: execution provider of ONNX Runtime.

    Raises:
        ExportMismatch: ONNX Runtime cannot load the graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # For one run, a second copy of the weights (packed, fused, or converted to float32) is not worth its memory.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=[provider])
    except Exception as error:  # ONNX Runtime's own errors have no base in common
        raise ExportMismatch(f"{spec.name}: ONNX Runtime cannot load the exported graph: {error}") from error
    got: list[Array] = session.run([tensor.name for tensor in spec.outputs], dict(inputs))
    return got


def module_outputs(module: nn.Module, inputs: Mapping[str, Array], device: str = "cpu") -> list[Array]:
    """Run a module on numpy inputs, and return its outputs as a list.

    Args:
        module: a module on the device.
        inputs: arrays with a leading batch axis.
        device: torch's name of the device.
    """
    with torch.inference_mode():
        outputs = module(**{name: torch.from_numpy(array).to(device) for name, array in inputs.items()})
    return [output.cpu().numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _share_of_greatest(name: str, got: Array, wanted: Array) -> Deviation:
    largest, difference = float(np.abs(wanted).max()), float(np.abs(got - wanted).max())
    return Deviation(name, difference / (largest or 1.0), TOLERANCE, "share of the greatest magnitude")


def _candidates_deviation(got: Sequence[Array], wanted: Sequence[Array]) -> Deviation:
    """Return the distance within which 99 % of the wanted candidates have one of ours, at any rank."""
    errors = [_unmatched(*pair) for pair in zip(candidates(*got), candidates(*wanted), strict=True)]
    # Not `max`: it passes over NaN.
    return Deviation("boxes and scores", float(np.max(errors)), TOLERANCE, "99 % of (box, score)")


def _unmatched(ours: Array, theirs: Array) -> float:
    nearest = np.abs(ours[None] - theirs[:, None]).max(axis=-1).min(axis=1)
    return float(np.quantile(nearest, MATCHED_QUERIES, method="higher"))


def candidates(logits: Array, boxes: Array) -> Array:
    """Return (B, 900, 5): the box and the best token's probability of each query; NaN if a logit of it is NaN."""
    score = 1 / (1 + np.exp(-logits.max(axis=-1, keepdims=True)))
    return np.concatenate([boxes, score], axis=-1)
