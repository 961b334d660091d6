"""Whether a graph that computes in float16 is near enough to its float32 module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from respin.specs import Array, ModelSpec
from respin_export.deviation import Deviation, NamedArrays, check_deviations
from respin_export.parity import candidates, check_shapes, outputs_by_name

RELATIVE_L2 = 3e-3
"""Greatest norm of the difference, as a share of the norm of the wanted tensor."""

BOX_SHIFT = 1 / 1200
"""One pixel of GroundingDINO's usual 1200."""

MATCHED_BOXES = 0.98
"""Share of boxes that must be found again: rounding swaps those that barely make the 900 and barely do not."""

SCORE_SHIFT = 0.01
"""How far half of the candidates' probabilities may move; of a candidate that changed its rank, with it the query
embedding, and with that the score, no more can be asked (untrained, 4 of 5 change theirs)."""


def inputs_without_amplification(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Example inputs whose guidance is 1, 0, 1, ...: the conditional prediction, the unconditional one, ...

    Guidance g is float32 arithmetic on both predictions and multiplies their rounding errors by up to 2 g - 1, so that
    with the example's own 1..10 the guidance would be measured and not the network.
    """
    if "guidance" not in inputs:
        return dict(inputs)
    guidance = inputs["guidance"]
    return {**inputs, "guidance": np.resize([1, 0], guidance.shape).astype(guidance.dtype)}


def compare_fp16(spec: ModelSpec, got: Sequence[Array], wanted: Sequence[Array]) -> dict[str, float]:
    """Check the outputs of a float16 graph against those of its float32 module, and return the error of each.

    Raises:
        ExportMismatch: they differ by more than is allowed, are NaN, or have another shape.
    """
    deviations = deviations_fp16(spec.name, got, outputs_by_name(spec, wanted))
    return check_deviations(spec.name, deviations, "export it with --precision fp32")


def deviations_fp16(network: str, got: Sequence[Array], wanted: NamedArrays) -> list[Deviation]:
    """Measure what a float16 graph computes against float32 code.

    Args:
        network: its name; GroundingDINO's candidates are compared as a set.
        got: the outputs.
        wanted: what they should be, by name, in the same order.

    Returns:
        relative L2 of each output; of GroundingDINO how far 98 % of the boxes and half of the scores have moved.

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
    """Norm of the difference as a share of the wanted tensor's norm; NaN where either holds one."""
    norm = float(np.linalg.norm(wanted.astype(np.float64)))
    return float(np.linalg.norm(got.astype(np.float64) - wanted)) / (norm or 1.0)


def _moved_detections(got: Sequence[Array], wanted: Sequence[Array]) -> list[Deviation]:
    """As sets: each candidate of the module must have one of the graph near it, whatever its rank."""
    shifts = [_shifts(*pair) for pair in zip(candidates(*got), candidates(*wanted), strict=True)]
    # Not `max`: it passes over NaN.
    box = float(np.max([np.quantile(boxes, MATCHED_BOXES) for boxes, _ in shifts]))
    score = float(np.max([np.median(scores) for _, scores in shifts]))
    return [
        Deviation("boxes", box, BOX_SHIFT, "98 % of boxes, share of the image; 1/1200 is one pixel"),
        Deviation("scores", score, SCORE_SHIFT, "half of the scores"),
    ]


def _shifts(ours: Array, theirs: Array) -> tuple[Array, Array]:
    """How far each of their boxes is from our nearest, and its score from that of our nearest candidate."""
    apart = np.abs(ours[None] - theirs[:, None])
    boxes = apart[..., :4].max(axis=-1)
    nearest = np.maximum(boxes / BOX_SHIFT, apart[..., 4] / SCORE_SHIFT).argmin(axis=1)
    return boxes.min(axis=1), apart[np.arange(len(theirs)), nearest, 4]
