"""The mask of the object, with SAM ViT-L (Kirillov et al. 2023, arXiv:2304.02643), as in its SamPredictor."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from respin.contracts.networks import SAM_DECODER, SAM_ENCODER
from respin.geometry import Box, Fit, Size, fit_longest_side
from respin.specs import Array
from respin_ensemble.imaging.tensors import BILINEAR, LEVELS, Mask, Picture, map_levels, resize
from respin_ensemble.networks import Networks

SAM_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
SAM_STD = np.array([58.395, 57.12, 57.375], np.float32)
NORMALISED = (LEVELS - SAM_MEAN) / SAM_STD


def object_mask(networks: Networks, photo: Picture, box: Box, *, choice: str = "single") -> Mask:
    """Return the mask of the object in a box.

    Args:
        networks: the networks of the set.
        photo: (H, W, 3) uint8 RGB.
        box: in px of the photo.
        choice: "single" takes mask 0, as upstream recommends for boxes; "best" the mask of 1..3 with the highest IoU.

    Returns:
        (H, W) bool; may be all false.
    """
    side = networks.sizes.sam_side
    fit = fit_longest_side(Size.from_array(photo), side)
    embedding = networks(SAM_ENCODER, image=prepare_image(photo, fit)[None])["embedding"]
    answer = networks(SAM_DECODER, embedding=embedding, box=fit.box_into(box).to_array()[None])
    slot = 0 if choice == "single" else 1 + int(np.argmax(answer["predicted_iou"][0, 1:]))
    return mask_at(answer["masks"][0, slot], fit)


def prepare_image(photo: Picture, fit: Fit) -> NDArray[np.float32]:
    """Convert (H, W, 3) uint8 to (3, side, side) float32: normalised, then zero-padded at the bottom and right."""
    scaled = map_levels(resize(photo, fit.fitted, BILINEAR), NORMALISED)
    below, right = fit.padded.height - fit.fitted.height, fit.padded.width - fit.fitted.width
    return np.pad(scaled, ((0, 0), (0, below), (0, right))) if below or right else scaled


def mask_at(logits: Array, fit: Fit) -> Mask:
    """Convert mask logits in the network's frame to a mask in the photo's pixels.

    They are enlarged to the padded square, cropped, resized to the photo, and only then compared with 0, as in SAM's
    `postprocess_masks`. OpenCV's bilinear filter is PyTorch's with align_corners=False.

    Args:
        logits: (side / 4, side / 4) float32.
        fit: how the photo entered the network.
    """
    square = cv2.resize(logits, (fit.padded.width, fit.padded.height), interpolation=cv2.INTER_LINEAR)
    photo = (fit.original.width, fit.original.height)
    return cv2.resize(fit.remove_padding(square), photo, interpolation=cv2.INTER_LINEAR) > 0
