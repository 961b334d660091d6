"""Known calls of the original SAM (facebookresearch/segment-anything)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from respin.specs import Array
from respin_export.originals import fill
from respin_export.originals.case import Case, normalise
from respin_export.originals.reference import Reference

LAYOUT = "sam/reduced"
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def image(reference: Reference) -> Array:
    """Return the encoder's input, (1, 3, S, S) float32: resized, normalised, zero-padded below right."""
    known = reference.outputs(LAYOUT)
    height, width = map(int, known["input_size"])
    picture = Image.fromarray(fill.image("sam", *map(int, known["original_size"])))
    side = int(reference.config(LAYOUT)["image_size"])
    padded = np.zeros((1, 3, side, side), np.float32)
    resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    padded[:, :, :height, :width] = normalise(np.asarray(resized), MEAN, STD)
    return padded


def cases(reference: Reference, network: str) -> Iterator[Case]:
    """Yield the known calls of one of its two networks."""
    known = reference.outputs(LAYOUT)
    if network == "sam_encoder":
        wanted = {"embedding": known["image_embedding"]}
        yield Case(network, "97 x 150 px", {"image": image(reference)}, wanted)
    if network == "sam_decoder":
        yield Case(
            network,
            "one box",
            {"embedding": known["image_embedding"], "box": known["box_transformed"].astype(np.float32)},
            {
                "masks, slot 0": known["single.low_res_logits"],
                "masks, slots 1..3": known["multi.low_res_logits"],
                "predicted_iou, slot 0": known["single.iou"],
                "predicted_iou, slots 1..3": known["multi.iou"],
            },
            kept=lambda outputs: [part for output in outputs for part in (output[0, :1], output[0, 1:])],
        )
