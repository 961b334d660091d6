"""Known calls of the original GroundingDINO (IDEA-Research/GroundingDINO)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from respin.contracts.networks import CAPTION_TOKENS
from respin.specs import Array
from respin_export.example import caption_inputs
from respin_export.originals import fill
from respin_export.originals.case import Case, normalise
from respin_export.originals.reference import Reference

LAYOUT = "groundingdino/reduced"
CASES = ("chair", "two", "wide", "wide2")
"""Names of the calls: two captions on one picture, and two pictures so wide that some anchors are invalid."""

PHRASES = {4: ((1, 3),), 7: ((1, 4), (4, 6))}
"""Begin and end of each phrase, with its closing full stop, by the number of tokens of the caption."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def caption(ids: Array, length: int = CAPTION_TOKENS) -> dict[str, Array]:
    """Return the four text inputs of a caption, with a batch axis.

    Args:
        ids: BERT's tokens, (1, tokens).
        length: number of tokens to pad to.
    """
    inputs = caption_inputs(ids[0], PHRASES[ids.shape[1]], length)
    return {name: array[None] for name, array in inputs.items()}


def cases(reference: Reference, network: str) -> Iterator[Case]:
    """Yield the known calls.

    Args:
        reference: a reference folder.
        network: name of the network.
    """
    known = reference.outputs(LAYOUT)
    for name in CASES:
        ids = known[f"{name}.input_ids"]
        height, width = map(int, known.get(f"{name}.image_hw", reference.config(LAYOUT)["image_hw"]))
        picture = fill.image(f"gdino_{name}" if "wide" in name else "gdino", height, width)
        inputs = {"image": normalise(picture.astype(np.float32) / 255, MEAN, STD), **caption(ids)}
        wanted = {"logits": known[f"{name}.pred_logits"], "boxes": known[f"{name}.pred_boxes"]}
        yield Case(
            network, f"{name}, {height} x {width} px", inputs, wanted, kept=partial(_without_padding, ids.shape[1])
        )


def _without_padding(tokens: int, outputs: Sequence[Array]) -> list[Array]:
    """Remove the padding if all its logits are -inf; otherwise keep it, and the comparison fails."""
    logits, boxes = outputs
    silent = bool(np.isneginf(logits[..., tokens:]).all())
    return [logits[..., :tokens] if silent else logits, boxes]
