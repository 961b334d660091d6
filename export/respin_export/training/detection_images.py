"""Images for the training of GroundingDINO: photos, rooms without their object, and views on white."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from respin.specs import Array
from respin_export.training.chunks import Chunks

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

MOST_OBJECTS = 2
"""Largest number of objects in a training photo."""

SHARE_WHITE, SHARE_EMPTY = 0.2, 0.1
"""Share of images with an object on white, and share of photos whose first object was removed."""

SMALLEST_CROP = 0.5
"""Smallest side of a crop as a share of the largest crop of that aspect ratio."""

MARGIN = 4
"""Distance that crops keep from objects, px of the photo."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class DetectionExample:
    """An image with its objects.

    Args:
        image: (h, w, 3) uint8.
        boxes: (O, 4) float, (x0, y0, x1, y1) px of the image.
        kinds: (O,) int, indices into `KINDS`.
    """

    image: Pixels
    boxes: NDArray[np.float64]
    kinds: NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """The data sets that images are drawn from.

    Args:
        photos: data set `training.scenes.PHOTOS`.
        white: data set `training.scenes.WHITE`.
    """

    photos: Chunks
    white: Chunks

    def draw(self, height: int, width: int, generator: np.random.Generator) -> DetectionExample:
        """Draw an image of a size, a crop of a photo or a view, mirrored and brightened at random."""
        if generator.random() < SHARE_WHITE:
            example = view_example(self.white.sample(int(generator.integers(len(self.white)))), generator)
        else:
            sample = self.photos.sample(int(generator.integers(len(self.photos))))
            example = photo_example(sample, empty=bool(generator.random() < SHARE_EMPTY))
        cropped = _cropped(example, height, width, generator)
        return _varied(_mirrored(cropped) if generator.random() < 0.5 else cropped, generator)


def photo_example(sample: dict[str, Array], *, empty: bool = False) -> DetectionExample:
    """Return a photo with its objects, or without the first one.

    Args:
        sample: sample of `training.scenes.PHOTOS`.
        empty: whether the first object and its shadow are removed.
    """
    kept = sample["kinds"] >= 0
    if empty:
        kept = kept & (np.arange(len(kept)) > 0)
    return DetectionExample(
        np.asarray(sample["background" if empty else "photo"]),
        sample["boxes"][kept].astype(np.float64),
        sample["kinds"][kept].astype(np.int64),
    )


def view_example(sample: dict[str, Array], generator: np.random.Generator) -> DetectionExample:
    """Return an object on white, enlarged four times and blurred like the output of a diffusion model.

    Args:
        sample: sample of `training.scenes.WHITE`.
        generator: source of the blur.
    """
    height, width = (4 * side for side in sample["mask"].shape)
    image = Image.fromarray(np.asarray(sample["image"])).resize((width, height), Image.Resampling.BICUBIC)
    if generator.random() < 0.7:
        image = image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0, 6))))
    rows, columns = np.flatnonzero(sample["mask"].any(axis=1)), np.flatnonzero(sample["mask"].any(axis=0))
    box = 4.0 * np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return DetectionExample(np.asarray(image), box[None], np.array([sample["kind"]], np.int64))


def _cropped(example: DetectionExample, height: int, width: int, generator: np.random.Generator) -> DetectionExample:
    """Cut a random part that holds all objects, if that is possible, and resize it."""
    tall, wide = example.image.shape[:2]
    largest = min(wide, tall * width / height)
    boxes = example.boxes if len(example.boxes) else np.array([[wide / 2, tall / 2, wide / 2, tall / 2]])
    low, high = boxes[:, :2].min(axis=0) - MARGIN, boxes[:, 2:].max(axis=0) + MARGIN
    needed = max(high[0] - low[0], (high[1] - low[1]) * width / height)
    crop_width = min(largest, max(needed, largest * generator.uniform(SMALLEST_CROP, 1)))
    crop_height = crop_width * height / width
    left = _offset(low[0], high[0], crop_width, wide, generator)
    top = _offset(low[1], high[1], crop_height, tall, generator)
    region = (left, top, left + crop_width, top + crop_height)
    image = Image.fromarray(example.image).resize((width, height), Image.Resampling.BILINEAR, box=region)
    scale = width / crop_width
    moved = (example.boxes - np.array([left, top, left, top])) * scale
    return DetectionExample(np.asarray(image), np.clip(moved, 0, [width, height, width, height]), example.kinds)


def _offset(low: float, high: float, length: float, limit: int, generator: np.random.Generator) -> float:
    """Draw where a crop begins, so that it holds low..high within 0..limit, or as much of it as it can."""
    first, last = max(0.0, high - length), min(limit - length, low)
    if first < last:
        return float(generator.uniform(first, last))
    return float(np.clip((low + high - length) / 2, 0, max(limit - length, 0)))


def _mirrored(example: DetectionExample) -> DetectionExample:
    width = example.image.shape[1]
    boxes = example.boxes[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1]) + np.array([width, 0, width, 0])
    return DetectionExample(np.ascontiguousarray(example.image[:, ::-1]), boxes, example.kinds)


def _varied(example: DetectionExample, generator: np.random.Generator) -> DetectionExample:
    """Change brightness, white balance and sharpness a little, and add noise to some."""
    image = example.image
    if generator.random() < 0.2:
        blur = ImageFilter.GaussianBlur(float(generator.uniform(0.2, 1)))
        image = np.asarray(Image.fromarray(image).filter(blur))
    levels = image.astype(np.float32) * (generator.uniform(0.8, 1.1) * generator.uniform(0.95, 1.05, 3)).astype(
        np.float32
    )
    if generator.random() < 0.2:
        levels += generator.standard_normal(levels.shape, np.float32) * np.float32(generator.uniform(1, 6))
    return DetectionExample(np.clip(levels, 0, 255).astype(np.uint8), example.boxes, example.kinds)


def image_tensors(examples: list[DetectionExample], height: int, width: int) -> dict[str, Tensor]:
    """Normalise images and pad them at the right and below with the mean colour.

    Args:
        examples: B images of at most that size with at most two objects each.
        height: height of the padded images, px.
        width: width of the padded images, px.

    Returns:
        image (B, 3, height, width) float32; boxes (B, 2, 4) float32, (cx, cy, w, h) as fractions of the padded image;
        kinds (B, 2) int64, -1 where there is no object.
    """
    images = torch.zeros(len(examples), 3, height, width).contiguous(memory_format=torch.channels_last)
    boxes = torch.full((len(examples), MOST_OBJECTS, 4), 0.5)
    kinds = torch.full((len(examples), MOST_OBJECTS), -1)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    for index, example in enumerate(examples):
        tall, wide = example.image.shape[:2]
        pixels = torch.from_numpy(example.image.copy()).permute(2, 0, 1) / 255
        images[index, :, :tall, :wide] = (pixels - mean) / std
        count = len(example.kinds)
        corners = torch.from_numpy(example.boxes / np.array([width, height, width, height])).float()
        boxes[index, :count] = torch.cat(
            [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], dim=1
        )
        kinds[index, :count] = torch.from_numpy(example.kinds)
    return {"image": images, "boxes": boxes, "kinds": kinds}
