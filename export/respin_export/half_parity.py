"""Compare the outputs of a float16 graph with those of its float32 module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from respin.specs import Array, ModelSpec
from respin_export.deviation import Deviation, NamedArrays, check_deviations
from respin_export.parity import candidates, check_shapes, outputs_by_name

RELATIVE_L2 = 3e-3
"""Largest norm of the difference, as a share of the norm of the reference."""

BOX_SHIFT = 1 / 1200
"""Largest shift of a box: one pixel of GroundingDINO's usual 1200."""

MATCHED_BOXES = 0.98
"""Share of boxes that must be found again: rounding swaps some that are just above and just below the best 900."""

SCORE_SHIFT = 0.01
"""Largest change of half of the candidates' probabilities. A candidate that changes its rank takes another query
embedding, and with it another score (4 of 5 do with random weights)."""


def inputs_without_amplification(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return example inputs with a guidance of 1, 0, 1, ...: the conditional prediction, the unconditional one, ...

    Guidance g is float32 arithmetic on both predictions and multiplies their rounding errors by up to 2 g - 1, so that
    the example's 1..10 would measure guidance instead of the network.
    """
    if "guidance" not in inputs:
        return dict(inputs)
    guidance = inputs["guidance"]
    return {**inputs, "guidance": np.resize([1, 0], guidance.shape).astype(guidance.dtype)}


def compare_fp16(
    spec: ModelSpec, got: Sequence[Array], wanted: Sequence[Array], *, gated: bool = True
) -> dict[str, float]:
    """Check the outputs of a float16 graph against those of its float32 module, and return the error of each.

    Raises:
        ExportMismatch: they differ by more than is allowed, are NaN, or have another shape.
    """
    deviations = deviations_fp16(spec.name, got, outputs_by_name(spec, wanted))
    return check_deviations(spec.name, deviations, "export it with --precision fp32", gated=gated)


def deviations_fp16(network: str, got: Sequence[Array], wanted: NamedArrays) -> list[Deviation]:
    """Measure the deviation of a float16 graph's outputs from float32 references.

    Args:
        network: name of the network; GroundingDINO's candidates are compared as a set.
        got: outputs of the graph.
        wanted: references by name, in the same order.

    Returns:
        relative L2 of each output; for GroundingDINO the shift of 98 % of the boxes and of half of the scores.

    Raises:
        ExportMismatch: an output has another shape.
    """
    check_shapes(network, got, wanted)
    if network == "grounding_dino":
        return _moved_detections(got, list(wanted.values()))
    return [
        Deviation(name, relative_l2(ours, theirs), RELATIVE_L2, "relative L2")
        for ours, (name, theirs) in zip(got, wanted.items(), strict=True)
    ]


def relative_l2(got: Array, wanted: Array) -> float:
    """Return the norm of the difference as a share of the reference's norm; NaN if either holds one."""
    norm = float(np.linalg.norm(wanted.astype(np.float64)))
    return float(np.linalg.norm(got.astype(np.float64) - wanted)) / (norm or 1.0)


def _moved_detections(got: Sequence[Array], wanted: Sequence[Array]) -> list[Deviation]:
    """Compare candidates as sets: each one of the module has one of the graph near it, at any rank."""
    shifts = [_shifts(*pair) for pair in zip(candidates(*got), candidates(*wanted), strict=True)]
    # Not `max`: it passes over NaN.
    box = float(np.max([np.quantile(boxes, MATCHED_BOXES) for boxes, _ in shifts]))
    score = float(np.max([np.median(scores) for _, scores in shifts]))
    return [
        Deviation("boxes", box, BOX_SHIFT, "98 % of boxes, share of the image; 1/1200 is one pixel"),
        Deviation("scores", score, SCORE_SHIFT, "half of the scores"),
    ]


def _shifts(ours: Array, theirs: Array) -> tuple[Array, Array]:
    """Return each of their boxes' distance from our nearest, and its score's from our nearest candidate's."""
    apart = np.abs(ours[None] - theirs[:, None])
    boxes = apart[..., :4].max(axis=-1)
    nearest = np.maximum(boxes / BOX_SHIFT, apart[..., 4] / SCORE_SHIFT).argmin(axis=1)
    return boxes.min(axis=1), apart[np.arange(len(theirs)), nearest, 4]
