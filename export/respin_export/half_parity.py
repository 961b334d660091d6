"""Whether a graph that computes in float16 is near enough to its float32 module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from respin.specs import Array, ModelSpec
from respin_export.errors import ExportMismatch
from respin_export.parity import candidates

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
    """Refuse outputs of a float16 graph that are not near its float32 module's.

    Args:
        spec: the network's contract.
        got: the graph's outputs.
        wanted: the module's.

    Returns:
        the error of each output: relative L2; of GroundingDINO's boxes, as a share of the image, and scores.

    Raises:
        ExportMismatch: they differ by more than `RELATIVE_L2` (GroundingDINO: `BOX_SHIFT` and
            `SCORE_SHIFT`), are NaN, or have another shape.
    """
    if [array.shape for array in got] != [array.shape for array in wanted]:
        raise ExportMismatch(
            f"{spec.name}: the FP16 graph's outputs have shapes {[array.shape for array in got]}, the module's "
            f"{[array.shape for array in wanted]}; the export fixed an axis that must stay free"
        )
    if spec.name == "grounding_dino":
        return _compare_detections(spec, got, wanted)
    errors = {}
    for tensor, ours, theirs in zip(spec.outputs, got, wanted, strict=True):
        error = relative_l2(ours, theirs)
        # Not `error > RELATIVE_L2`: that would let NaN through.
        if not error <= RELATIVE_L2:
            raise ExportMismatch(
                f"{spec.name}: '{tensor.name}' differs in FP16 from the float32 module by {error:.3g} (relative L2), "
                f"allowed is {RELATIVE_L2:.3g}; export it with --precision fp32"
            )
        errors[tensor.name] = error
    return errors


def relative_l2(got: Array, wanted: Array) -> float:
    """Norm of the difference as a share of the wanted tensor's norm; NaN where either holds one."""
    norm = float(np.linalg.norm(wanted.astype(np.float64)))
    return float(np.linalg.norm(got.astype(np.float64) - wanted)) / (norm or 1.0)


def _compare_detections(spec: ModelSpec, got: Sequence[Array], wanted: Sequence[Array]) -> dict[str, float]:
    """As sets: each candidate of the module must have one of the graph near it, whatever its rank."""
    if any(np.isnan(array).any() for array in got):
        raise ExportMismatch(f"{spec.name}: the FP16 graph's outputs hold NaN; export it with --precision fp32")
    shifts = [_shifts(*pair) for pair in zip(candidates(*got), candidates(*wanted), strict=True)]
    box = max(float(np.quantile(boxes, MATCHED_BOXES)) for boxes, _ in shifts)
    score = max(float(np.median(scores)) for _, scores in shifts)
    if not (box <= BOX_SHIFT and score <= SCORE_SHIFT):
        raise ExportMismatch(
            f"{spec.name}: {MATCHED_BOXES:.0%} of the FP16 graph's boxes lie within {box * 1200:.2g} px of 1200 of the "
            f"module's, and half of its scores within {score:.2g}; allowed are 1 px and {SCORE_SHIFT}; "
            "export it with --precision fp32"
        )
    return {"boxes": box, "scores": score}


def _shifts(ours: Array, theirs: Array) -> tuple[Array, Array]:
    """How far each of their boxes is from our nearest, and its score from that of our nearest candidate."""
    apart = np.abs(ours[None] - theirs[:, None])
    boxes = apart[..., :4].max(axis=-1)
    nearest = np.maximum(boxes / BOX_SHIFT, apart[..., 4] / SCORE_SHIFT).argmin(axis=1)
    return boxes.min(axis=1), apart[np.arange(len(theirs)), nearest, 4]
