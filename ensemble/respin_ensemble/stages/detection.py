"""Where the object is, with GroundingDINO (Liu et al. 2023, arXiv:2303.05499), as in its util/inference.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin.contracts.networks import GROUNDING_DINO
from respin.errors import ObjectNotFound
from respin.geometry import Box, Size, fit_short_side
from respin.model_set import Sizes
from respin.specs import Array
from respin_ensemble.imaging.tensors import BILINEAR, LEVELS, Picture, map_levels, resize
from respin_ensemble.networks import Networks
from respin_ensemble.stages.tokenization import caption_tokens, decode_phrase

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)
NORMALISED = (LEVELS / 255 - IMAGENET_MEAN) / IMAGENET_STD


@dataclass(frozen=True)
class Detection:
    """An object that was found.

    Args:
        box: in px of the photo.
        score: 0..1.
        phrase: the words of the name that the detector matched.
    """

    box: Box
    score: float
    phrase: str


def find_object(
    networks: Networks, photo: Picture, class_name: str, *, box_threshold: float, text_threshold: float
) -> Detection:
    """Find the best match for a name in a photo.

    Args:
        networks: the networks of the set.
        photo: (H, W, 3) uint8 RGB.
        class_name: name of the object in English, e.g. "laptop".
        box_threshold: minimum score, exclusive; upstream's default is 0.35.
        text_threshold: minimum score of a word of the phrase; upstream's default is 0.25.

    Raises:
        InvalidInput: the name contains no noun.
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
    box = Box.from_fractions(answer["boxes"][0, query], Size.from_array(photo))
    return Detection(box, score, decode_phrase(tokens, probabilities, text_threshold))


def prepare_image(photo: Picture, sizes: Sizes) -> NDArray[np.float32]:
    """Convert (H, W, 3) uint8 to GroundingDINO's input: (3, h, w) float32, ImageNet-normalised."""
    fit = fit_short_side(Size.from_array(photo), sizes.detection_short_side, sizes.detection_long_side)
    return map_levels(resize(photo, fit.fitted, BILINEAR), NORMALISED)


def best_query(logits: Array) -> int:
    """Return the index of the query with the highest logit; on a tie the first.

    Args:
        logits: (900, 256), queries by tokens.
    """
    return int(np.argmax(logits.max(axis=1)))


def sigmoid(logits: Array) -> NDArray[np.float32]:
    """Convert logits to probabilities without overflow; -inf (padding) becomes 0."""
    half = np.float32(0.5)
    probabilities: NDArray[np.float32] = half * (1 + np.tanh(half * logits))
    return probabilities
