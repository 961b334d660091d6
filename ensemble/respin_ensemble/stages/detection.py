"""Where is the object? GroundingDINO (Liu et al. 2023, arXiv:2303.05499), run as its util/inference.py does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin.contracts.networks import GROUNDING_DINO
from respin.errors import ObjectNotFound
from respin.geometry import Box, Size, fit_short_side
from respin.model_set import Sizes
from respin.specs import Array
from respin_ensemble.imaging.tensors import BILINEAR, LEVELS, Picture, resized, translated
from respin_ensemble.networks import Networks
from respin_ensemble.stages.tokenization import caption_tokens, phrase_found

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)
NORMALISED = (LEVELS / 255 - IMAGENET_MEAN) / IMAGENET_STD


@dataclass(frozen=True)
class Detection:
    """Where an object was found.

    Args:
        box: px of the photo.
        score: 0..1.
        phrase: the words of the name that were recognised in it.
    """

    box: Box
    score: float
    phrase: str


def find_object(
    networks: Networks, photo: Picture, class_name: str, *, box_threshold: float, text_threshold: float
) -> Detection:
    """Find the one object that a photo shows of a name.

    Args:
        networks: of the set.
        photo: (H, W, 3) uint8 RGB.
        class_name: "laptop".
        box_threshold: least score; upstream's default is 0.35.
        text_threshold: least score of a word of the phrase; upstream's default is 0.25.

    Raises:
        InvalidInput: the name names nothing.
        ObjectNotFound: no box scores above `box_threshold`.
    """
    tokens = caption_tokens(class_name)
    answer = networks(
        GROUNDING_DINO,
        image=prepare_image(photo, networks.sizes)[None],
        input_ids=tokens.input_ids[None],
        attention_mask=tokens.attention_mask[None],
        position_ids=tokens.position_ids[None],
        text_self_attention_mask=tokens.text_self_attention_mask[None],
    )
    query = best_query(answer["logits"][0])
    probabilities = sigmoid(answer["logits"][0, query])
    score = float(probabilities.max())
    if not score > box_threshold:
        raise ObjectNotFound(
            f"no '{class_name}' in the photo: best match {score:.2f}, threshold {box_threshold:.2f}; "
            "name the object in other words, lower box_threshold, or send its box"
        )
    box = Box.from_fractions(answer["boxes"][0, query], Size.of(photo))
    return Detection(box, score, phrase_found(tokens, probabilities, text_threshold))


def prepare_image(photo: Picture, sizes: Sizes) -> NDArray[np.float32]:
    """(H, W, 3) uint8 to (3, h, w) float32 in GroundingDINO's frame, ImageNet-normalised."""
    fit = fit_short_side(Size.of(photo), sizes.detection_short_side, sizes.detection_long_side)
    return translated(resized(photo, fit.fitted, BILINEAR), NORMALISED)


def best_query(logits: Array) -> int:
    """Index of the query that is surest of any word; the first of equals.

    Args:
        logits: (900, 256), each query against each token.
    """
    return int(np.argmax(logits.max(axis=1)))


def sigmoid(logits: Array) -> NDArray[np.float32]:
    """Logits to probabilities; -inf (padding) to 0, without overflow."""
    half = np.float32(0.5)
    probabilities: NDArray[np.float32] = half * (1 + np.tanh(half * logits))
    return probabilities
