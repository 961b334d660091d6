"""The loss of GroundingDINO's training: dense, without matching of queries to objects.

The target of encoder tokens near the middle of an object, and of queries whose reference box overlaps it, is its
box. The target of their score is 0.25 + 0.75 IoU of that box for a word that names the object; for any other word it is
zero with full weight, or the network would find furniture of any kind. Everywhere else it is zero, with a weight that
grows with the score, because almost everything is background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from respin_export.training.captions import OTHER_WORD

CENTRE_SHARE, EDGE_SHARE = 0.45, 0.9
"""Tokens within the first share of a box are positives; those up to the second share are ignored."""

POSITIVE_IOU, IGNORED_IOU = 0.4, 0.25
"""Overlap of a query's reference box from which it is positive, and from which it is ignored."""

BOX_WEIGHTS = (4.0, 2.0)
"""Weights of the L1 distance, in fractions of the image, and of 1 - GIoU."""

BACKGROUND_WEIGHT = 4.0
"""Weight of a background candidate with score p: this times p**2, at most 1.

The job takes the best of 900 candidates, so a single score of 0.4 is a false detection. With 0.6 here, a quarter of the
absent names were found; 300 steps later, with 4, a twelfth.
"""


@dataclass(frozen=True)
class Truth:
    """The objects and captions of a batch.

    Args:
        boxes: (B, O, 4), (cx, cy, w, h) as fractions of the padded image; anything where there is no object.
        kinds: (B, O) int64, -1 where there is no object.
        token_kinds: (B, T) int64 of the captions, see `caption_tensors`.
        attention_mask: (B, T) bool, true on the captions.
    """

    boxes: Tensor
    kinds: Tensor
    token_kinds: Tensor
    attention_mask: Tensor

    @property
    def shown(self) -> Tensor:
        """Mask of the objects that exist, (B, 1, O) bool."""
        return (self.kinds >= 0)[:, None]

    @property
    def named(self) -> Tensor:
        """Return 1 where a token is of a phrase that names the object, (B, O, T) float."""
        return ((self.kinds[:, :, None] == self.token_kinds[:, None]) & (self.kinds >= 0)[:, :, None]).float()


@dataclass(frozen=True)
class Candidates:
    """The outputs of one stage and their places.

    Args:
        logits: (B, N, T).
        boxes: (B, N, 4), (cx, cy, w, h).
        centres: (B, N, 2), (x, y) of the places.
        positive: (B, N, O) bool: the object is the candidate's target.
        ignored: (B, N, O) bool: near the object, but not near enough.
    """

    logits: Tensor
    boxes: Tensor
    centres: Tensor
    positive: Tensor
    ignored: Tensor


def token_candidates(logits: Tensor, boxes: Tensor, truth: Truth, grid: Sequence[Tensor]) -> Candidates:
    """Assign encoder tokens to objects: those near its middle, and the nearest of each level.

    Args:
        logits: (B, S, T).
        boxes: (B, S, 4).
        truth: truth of the batch.
        grid: the centres of each level's tokens, (S_level, 2) as fractions of the image.
    """
    centres = torch.cat(list(grid))[None].expand(len(boxes), -1, -1)
    positive, near = _inside(centres, truth.boxes, CENTRE_SHARE), _inside(centres, truth.boxes, EDGE_SHARE)
    first = 0
    for level in grid:
        distance = ((level[None, :, None] - truth.boxes[:, None, :, :2]) ** 2).sum(-1)
        positive.scatter_(1, first + distance.argmin(dim=1, keepdim=True), True)
        first += len(level)
    return Candidates(logits, boxes, centres, positive & truth.shown, near & truth.shown)


def query_candidates(logits: Tensor, boxes: Tensor, references: Tensor, truth: Truth) -> Candidates:
    """Assign queries to objects by their reference boxes.

    Args:
        logits: (B, Q, T).
        boxes: (B, Q, 4).
        references: (B, Q, 4).
        truth: truth of the batch.
    """
    overlap = iou_and_giou(references[:, :, None], truth.boxes[:, None])[0]
    central = _inside(references[..., :2], truth.boxes, 0.3) & (overlap > 0.15)
    positive = (overlap > POSITIVE_IOU) | central
    return Candidates(logits, boxes, references[..., :2], positive & truth.shown, (overlap > IGNORED_IOU) & truth.shown)


def candidate_loss(found: Candidates, truth: Truth) -> Tensor:
    """Compute the loss of one stage: scores and boxes, per positive candidate."""
    positive = found.positive.any(-1)
    count = positive.sum().clamp(min=1)
    owner = _nearest(found, truth.boxes)
    wanted = torch.gather(truth.boxes, 1, owner[..., None].expand(-1, -1, 4))[positive]
    got = found.boxes[positive]
    iou, giou = iou_and_giou(got, wanted)
    quality = 0.25 + 0.75 * iou.detach()
    distance = (got - wanted).abs().sum()
    boxes = (BOX_WEIGHTS[0] * distance + BOX_WEIGHTS[1] * (1 - giou).sum()) / count
    return boxes + _score_loss(found, truth, positive, owner, quality) / count


def _score_loss(found: Candidates, truth: Truth, positive: Tensor, owner: Tensor, quality: Tensor) -> Tensor:
    """Sum the binary cross-entropy of all words at all candidates."""
    rows, columns = torch.where(positive)
    wanted = torch.zeros_like(found.logits)
    wanted[rows, columns] = truth.named[rows, owner[rows, columns]] * quality[:, None]
    # The object's own name is ignored around its middle.
    unsure = ((found.ignored & ~found.positive).float() @ truth.named) > 0
    in_caption = truth.attention_mask[:, None]
    weight = torch.where(
        positive[..., None] & (truth.token_kinds >= OTHER_WORD)[:, None],
        1.0,
        (BACKGROUND_WEIGHT * found.logits.detach().sigmoid() ** 2).clamp(max=1),
    )
    weight = weight.masked_fill(unsure & (wanted == 0), 0) * in_caption
    logits = found.logits.masked_fill(~in_caption, 0)
    return (F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * weight).sum()


def _nearest(found: Candidates, boxes: Tensor) -> Tensor:
    """Return the nearest object of each positive candidate, in units of the object's size, (B, N) int64."""
    offsets = (found.centres[:, :, None] - boxes[:, None, :, :2]) / boxes[:, None, :, 2:].clamp(min=1e-3)
    return (offsets**2).sum(-1).masked_fill(~found.positive, torch.inf).argmin(-1)


def _inside(points: Tensor, boxes: Tensor, share: float) -> Tensor:
    """Return whether points (B, N, 2) are within the middle share of boxes (B, O, 4), (B, N, O) bool."""
    offsets = (points[:, :, None] - boxes[:, None, :, :2]).abs()
    return (offsets <= boxes[:, None, :, 2:] * share / 2).all(-1)


def iou_and_giou(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return intersection over union, plain and generalised (Rezatofighi et al. 2019, arXiv:1902.09630).

    Args:
        first: (..., 4), (cx, cy, w, h).
        second: (..., 4), broadcast against `first`.

    Returns:
        Two tensors (...), 0..1 and -1..1.
    """
    low_first, high_first = _corners(first)
    low_second, high_second = _corners(second)
    shared = (torch.minimum(high_first, high_second) - torch.maximum(low_first, low_second)).clamp(min=0).prod(-1)
    union = first[..., 2:].prod(-1) + second[..., 2:].prod(-1) - shared
    hull = (torch.maximum(high_first, high_second) - torch.minimum(low_first, low_second)).prod(-1)
    iou = shared / union.clamp(min=1e-8)
    return iou, iou - (hull - union) / hull.clamp(min=1e-8)


def _corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    half = boxes[..., 2:] / 2
    return boxes[..., :2] - half, boxes[..., :2] + half
