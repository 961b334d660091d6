"""Training of the mini set's SAM on photos of rooms, views on white and drawn composites."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from respin.geometry import Fit, Size, bounding_box, fit_longest_side
from respin.specs import Array
from respin_export.mini.sam import MiniSam, MiniSamDecoder, MiniSamEncoder
from respin_export.mini.sizes import SIZES
from respin_export.training.composites import draw_composite, draw_texture
from respin_export.training.loop import Batch, Metrics, TrainingSchedule, load_weights
from respin_export.training.recolour import recolour
from respin_export.training.scenes import PHOTO_SIZE, PHOTOS, WHITE

MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Mean and standard deviation of SAM's normalised input, levels of RGB."""

SHARE_PHOTOS, SHARE_WHITE = 0.75, 0.1
"""Share of samples with a room, and with an object on white; the others are composites."""

BOX_JITTER = 0.08
"""Largest shift of a side of the box, as a share of the box's width or height: a detector's boxes are not exact."""

TARGET_SIDE = SIZES.sam_side // 2
"""Side at which masks are compared, px: twice the network's, so that edges can be between its cells."""

HELD_PHOTOS, HELD_VIEWS = 96, 32

SCHEDULE = TrainingSchedule(steps=5000, batch=16, learning_rate=1.5e-3, warmup=150, decay=1.0, evaluate_every=150)

SamFrame = tuple[Array, Array, NDArray[np.float64]]
"""A picture (H, W, 3) uint8, the mask (H, W) bool of its object, and the object's box (4,) px."""


@dataclass
class SamTask:
    """Train SAM on rooms, views and composites.

    Args:
        data: folder of the data sets.
    """

    data: Path
    name: str = "sam"
    schedule: TrainingSchedule = SCHEDULE

    def __post_init__(self) -> None:
        """Open the data."""
        self.photos, self.white = PHOTOS.training(self.data), WHITE.training(self.data)
        self._held = {"": _held_photos(self.data), "white_": _held_views(self.data)}

    def build(self) -> nn.Module:
        """Build encoder and decoder."""
        return MiniSam()

    def batch(self, size: int, generator: np.random.Generator, progress: float) -> Batch:
        """Draw image (B, 3, S, S), mask (B, 1, S/2, S/2) in 0..1, box (B, 4) px and valid (B, 1, S/2, S/2)."""
        return _as_batch([augment(self._draw(generator), generator) for _ in range(size)])

    def _draw(self, generator: np.random.Generator) -> SamFrame:
        choice = generator.random()
        if choice < SHARE_PHOTOS:
            sample = self.photos.sample(int(generator.integers(len(self.photos))))
            slot = int(generator.integers(2)) if sample["kinds"][1] >= 0 else 0
            if not _is_visible(sample["masks"][slot]):
                slot = 0
            return sample["photo"], sample["masks"][slot], sample["boxes"][slot].astype(np.float64)
        if choice < SHARE_PHOTOS + SHARE_WHITE:
            sample = self.white.sample(int(generator.integers(len(self.white))))
            return sample["image"], sample["mask"], _box(sample["mask"])
        while True:
            picture, mask = draw_composite(self._ground(generator), generator)
            if _is_visible(mask):
                return picture, mask, _box(mask)

    def _ground(self, generator: np.random.Generator) -> Array:
        """Draw a ground of a composite, or take a room without its object."""
        if generator.random() < 0.6:
            return draw_texture(192, 256, generator)
        return np.asarray(self.photos.sample(int(generator.integers(len(self.photos))))["background"][::2, ::2])

    def loss(self, module: MiniSam, batch: Batch) -> Tensor:
        """Compare the single mask, the best of the three choices, and the predicted IoUs."""
        image, wanted, valid = batch["image"], batch["mask"], batch["valid"]
        with torch.autocast(image.device.type, torch.bfloat16):
            logits, predicted = module(image, batch["box"])
        logits = F.interpolate(logits.float(), size=wanted.shape[2:], mode="bilinear", align_corners=False)
        errors = mask_errors(logits, wanted, valid)
        iou = intersection_over_union((logits > 0) & (valid > 0), wanted > 0.5)
        masks = errors[:, 0].mean() + errors[:, 1:].amin(dim=1).mean() + 0.05 * errors[:, 1:].mean()
        error: Tensor = masks + ((predicted.float() - iou) ** 2).mean()
        return error

    def evaluate(self, module: MiniSam) -> Metrics:
        """Measure the mean IoU of the single mask, and of the one with the best predicted IoU, from imperfect boxes."""
        metrics: Metrics = {}
        for prefix, batch in self._held.items():
            iou, predicted = predict_ious(module, batch)
            chosen = iou.gather(1, 1 + predicted[:, 1:].argmax(dim=1, keepdim=True))
            metrics |= {
                f"{prefix}iou": iou[:, 0].mean().item(),
                f"{prefix}above_0.9": (iou[:, 0] > 0.9).float().mean().item(),
                f"{prefix}chosen_iou": chosen.mean().item(),
                f"{prefix}iou_error": (predicted - iou).abs().mean().item(),
            }
        return {"score": metrics["iou"], **metrics}


def load_trained_sam(folder: Path) -> tuple[MiniSamEncoder, MiniSamDecoder]:
    """Load the modules of the contracts `sam_encoder` and `sam_decoder` from a training run.

    Args:
        folder: folder of the run, with its checkpoint.
    """
    module = MiniSam()
    module.load_state_dict(load_weights(folder))
    module.eval()
    return module.encoder, module.decoder


def augment(frame: SamFrame, generator: np.random.Generator) -> SamFrame:
    """Crop, mirror and recolour a picture, and shift the sides of its box."""
    picture, mask, box = _cropped(frame, generator) if generator.random() < 0.6 else frame
    if generator.random() < 0.5:
        width = picture.shape[1]
        picture, mask = picture[:, ::-1], mask[:, ::-1]
        box = np.array([width - box[2], box[1], width - box[0], box[3]])
    if generator.random() < 0.7:
        picture = recolour(picture, mask, generator)
    return picture, mask, jitter_box(box, picture.shape[:2], generator)


def jitter_box(box: Array, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float64]:
    """Shift each side of a box, (4,) px, by up to `BOX_JITTER` of its extent, within a picture of (height, width)."""
    extent = np.tile(box[2:] - box[:2], 2)
    moved = box + generator.uniform(-BOX_JITTER, BOX_JITTER, 4) * extent
    return np.asarray(moved.clip(0, [shape[1], shape[0], shape[1], shape[0]]))


def _cropped(frame: SamFrame, generator: np.random.Generator) -> SamFrame:
    """Crop a part of a picture that contains the whole object."""
    picture, mask, box = frame
    height, width = mask.shape
    share = generator.uniform(0, 1, 4)
    left, top = int(box[0] * share[0]), int(box[1] * share[1])
    right = int(np.ceil(box[2] + (width - box[2]) * share[2]))
    bottom = int(np.ceil(box[3] + (height - box[3]) * share[3]))
    part = slice(top, bottom), slice(left, right)
    return picture[part], mask[part], box - [left, top, left, top]


def _as_batch(frames: list[SamFrame]) -> dict[str, Tensor]:
    rows = [fit_to_frame(*frame) for frame in frames]
    batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
    return {**batch, "image": batch["image"].contiguous(memory_format=torch.channels_last)}


def fit_to_frame(picture: Array, mask: Array, box: Array) -> dict[str, NDArray[np.float32]]:
    """Convert a picture, its mask and a box to the encoder's frame, as the job does.

    Args:
        picture: (H, W, 3) uint8.
        mask: (H, W) bool.
        box: (4,) px.

    Returns:
        image (3, S, S), normalised, zero on padding; mask (1, S/2, S/2) in 0..1; box (4,) px of the frame; valid
        (1, S/2, S/2), 0 on padding and 1 elsewhere.
    """
    fit = fit_longest_side(Size.from_array(picture), SIZES.sam_side)
    scaled = Image.fromarray(np.ascontiguousarray(picture)).resize(
        (fit.fitted.width, fit.fitted.height), Image.Resampling.BILINEAR
    )
    image = np.zeros((3, SIZES.sam_side, SIZES.sam_side), np.float32)
    normalised = (np.asarray(scaled, np.float32) - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    image[:, : fit.fitted.height, : fit.fitted.width] = normalised.transpose(2, 0, 1)
    across, down = fit.fitted.width / fit.original.width, fit.fitted.height / fit.original.height
    return {
        "image": image,
        "mask": _small(mask, fit),
        "box": (box * [across, down, across, down]).astype(np.float32),
        "valid": _small(np.ones_like(mask), fit),
    }


def _small(mask: Array, fit: Fit) -> NDArray[np.float32]:
    """Return the coverage of each cell of the target by a mask, zero on padding: (1, S/2, S/2)."""
    square = np.zeros((SIZES.sam_side, SIZES.sam_side), np.uint8)
    scaled = Image.fromarray(np.ascontiguousarray(mask).view(np.uint8) * np.uint8(255)).resize(
        (fit.fitted.width, fit.fitted.height), Image.Resampling.BILINEAR
    )
    square[: fit.fitted.height, : fit.fitted.width] = np.asarray(scaled)
    return np.asarray(Image.fromarray(square).reduce(SIZES.sam_side // TARGET_SIDE), np.float32)[None] / 255


def mask_errors(logits: Tensor, wanted: Tensor, valid: Tensor) -> Tensor:
    """Compute the error of each mask, (B, M): binary cross-entropy weighted to edges, and the dice loss.

    Args:
        logits: (B, M, H, W).
        wanted: (B, 1, H, W) in 0..1.
        valid: (B, 1, H, W), 0 where errors are ignored.
    """
    edge = F.max_pool2d(wanted, 5, 1, 2) + F.max_pool2d(-wanted, 5, 1, 2)
    weight = (0.3 + 2 * edge) * valid
    entropy = F.binary_cross_entropy_with_logits(logits, wanted.expand_as(logits), reduction="none")
    area = wanted.sum(dim=(2, 3)).clamp(min=20)
    probability = logits.sigmoid() * valid
    both = (probability * wanted).sum(dim=(2, 3))
    dice = 1 - (2 * both + 1) / (probability.sum(dim=(2, 3)) + wanted.sum(dim=(2, 3)) + 1)
    return (entropy * weight).sum(dim=(2, 3)) / (2 * area) + dice


def intersection_over_union(got: Tensor, wanted: Tensor) -> Tensor:
    """Return the IoU of masks (B, M, H, W) with masks (B, 1, H, W), bool both: (B, M)."""
    either = (got | wanted).sum(dim=(2, 3)).clamp(min=1)
    return (got & wanted).sum(dim=(2, 3)) / either


def predict_ious(module: MiniSam, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return IoU and predicted IoU of each mask, (N, 4) each, at the side of the targets."""
    ious, predictions = [], []
    for start in range(0, len(batch["image"]), 16):
        part = {name: tensor[start : start + 16] for name, tensor in batch.items()}
        with torch.autocast(part["image"].device.type, torch.bfloat16):
            logits, predicted = module(part["image"], part["box"])
        logits = F.interpolate(logits.float(), size=part["mask"].shape[2:], mode="bilinear", align_corners=False)
        ious.append(intersection_over_union((logits > 0) & (part["valid"] > 0), part["mask"] > 0.5))
        predictions.append(predicted.float())
    return torch.cat(ious), torch.cat(predictions)


def _held_photos(data: Path) -> Batch:
    held, generator = PHOTOS.held(data), np.random.default_rng(0)
    frames = []
    for index in range(min(HELD_PHOTOS, len(held))):
        sample = held.sample(index)
        box = jitter_box(sample["boxes"][0].astype(np.float64), PHOTO_SIZE, generator)
        frames.append((sample["photo"], sample["masks"][0], box))
    return _as_batch(frames)


def _held_views(data: Path) -> Batch:
    held, generator = WHITE.held(data), np.random.default_rng(0)
    samples = [held.sample(index) for index in range(min(HELD_VIEWS, len(held)))]
    return _as_batch(
        [
            (each["image"], each["mask"], jitter_box(_box(each["mask"]), each["mask"].shape, generator))
            for each in samples
        ]
    )


def _is_visible(mask: Array) -> bool:
    """Return whether enough of an object is visible for training: a thousandth of the picture."""
    return int(mask.sum()) > mask.size // 1000


def _box(mask: Array) -> NDArray[np.float64]:
    return bounding_box(mask).box.to_array().astype(np.float64)
