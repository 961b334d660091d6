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

Comparison = Callable[[ModelSpec, Sequence[Array], Sequence[Array]], None]


def check_parity(module: nn.Module, path: Path, spec: ModelSpec, inputs: Mapping[str, Array]) -> None:
    """Run a graph in ONNX Runtime on the CPU and its module in torch, and compare their outputs.

    Args:
        module: in evaluation mode.
        path: the ONNX file.
        spec: the network's contract.
        inputs: with a leading batch axis, best of other lengths than were traced.

    Raises:
        ContractMismatch: an output's dtype or shape is not the contract's.
        ExportMismatch: outputs differ, or are NaN.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    got = session.run([tensor.name for tensor in spec.outputs], dict(inputs))
    for tensor, array in zip(spec.outputs, got, strict=True):
        tensor.check(array, batched=True, owner=spec.name)
    compare = _COMPARISONS.get(spec.name, compare_tensors)
    compare(spec, got, module_outputs(module, inputs))


def module_outputs(module: nn.Module, inputs: Mapping[str, Array]) -> list[Array]:
    """What a module makes of numpy inputs, always as a list."""
    with torch.inference_mode():
        outputs = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def compare_tensors(spec: ModelSpec, got: Sequence[Array], wanted: Sequence[Array]) -> None:
    """Refuse outputs that differ by more than float noise.

    Raises:
        ExportMismatch: they differ, are NaN, or have another shape.
    """
    for tensor, ours, theirs in zip(spec.outputs, got, wanted, strict=True):
        if ours.shape != theirs.shape:
            raise ExportMismatch(
                f"{spec.name}: '{tensor.name}' has shape {ours.shape}, the module's {theirs.shape}; "
                "the export fixed an axis that must stay free"
            )
        limit = TOLERANCE * np.abs(theirs).max()
        difference = np.abs(ours - theirs).max()
        # Not `difference > limit`: that would let NaN through.
        if not difference <= limit:
            raise ExportMismatch(
                f"{spec.name}: '{tensor.name}' differs from the module's by {difference:.3g}, allowed is {limit:.3g}; "
                "the export changed the computation"
            )


def compare_detections(spec: ModelSpec, got: Sequence[Array], wanted: Sequence[Array]) -> None:
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
    for ours, theirs in zip(_candidates(*got), _candidates(*wanted), strict=True):
        nearest = np.abs(ours[None] - theirs[:, None]).max(axis=-1).min(axis=1)
        matched = np.mean(nearest <= TOLERANCE)
        if not matched >= MATCHED_QUERIES:
            raise ExportMismatch(
                f"{spec.name}: only {matched:.1%} of the module's candidates are among the graph's, wanted "
                f"{MATCHED_QUERIES:.0%}; the export changed the computation"
            )


def _candidates(logits: Array, boxes: Array) -> Array:
    """(B, 900, 5): the box and the best token's probability of each query."""
    score = 1 / (1 + np.exp(-logits.max(axis=-1, keepdims=True)))
    return np.concatenate([boxes, score], axis=-1)


_COMPARISONS: dict[str, Comparison] = {"grounding_dino": compare_detections}
