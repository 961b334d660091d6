"""Training of the mini set's VAE: encoder and decoder together, then the decoder on the frozen encoder's latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from respin.specs import Array
from respin_export.mini.vae import LATENT_SCALE, MiniVaeDecoder, MiniVaeEncoder, opponent
from respin_export.training.chunks import Chunks
from respin_export.training.latents import statistics
from respin_export.training.loop import Batch, Metrics, TrainingSchedule
from respin_export.training.quality import colour_error, psnr
from respin_export.training.scenes import PHOTOS, WHITE

SIDE, SMALL_SIDE = 128, 64
"""Sides of training crops, px. Training begins with small ones about objects, twice as many in a step."""

SHARE_WHITE = 0.5
"""Share of samples with an object on white; the others show a part of a room."""

LATENT_NOISE = 0.04
"""Standard deviation of noise on latents before decoding, which makes the decoder tolerate small errors."""

CHANNEL_WEIGHTS = (1.0, 1.6, 1.6)
"""Weights of luma, red-green and yellow-blue in the loss."""


class Vae(nn.Module):
    """Encoder and decoder of one VAE."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = MiniVaeEncoder(), MiniVaeDecoder()


@dataclass
class VaeTask:
    """Train the VAE on views and rooms: encoder and decoder together.

    Args:
        data: folder of the data sets.
    """

    data: Path
    name: str = "vae"
    schedule: TrainingSchedule = field(
        default_factory=lambda: TrainingSchedule(
            steps=3000, batch=16, learning_rate=2.5e-3, weight_decay=1e-4, beta2=0.95, decay=1.0, evaluate_every=200
        )
    )
    small_until: float = 0.8

    def __post_init__(self) -> None:
        """Open the data."""
        self.white, self.rooms = WHITE.training(self.data), PHOTOS.training(self.data)
        self._held = _held_out(self.data)

    def build(self) -> nn.Module:
        """Build encoder and decoder."""
        return Vae()

    def batch(self, size: int, generator: np.random.Generator, progress: float) -> Batch:
        """Draw crops: image (B, 3, side, side) in -1..1 and mask (B, 1, side, side), 1 on objects."""
        small = progress < self.small_until
        pictures = [self._draw(generator) for _ in range(2 * size if small else size)]
        if small:
            pictures = [_small_crop(image, mask, generator) for image, mask in pictures]
        return _as_tensors([image for image, _ in pictures], [mask for _, mask in pictures])

    def _draw(self, generator: np.random.Generator) -> tuple[Array, Array]:
        if generator.random() < SHARE_WHITE:
            sample = self.white.sample(int(generator.integers(len(self.white))))
            image, mask = sample["image"], sample["mask"]
        else:
            sample = self.rooms.sample(int(generator.integers(len(self.rooms))))
            image, mask = _room_crop(sample, generator)
        return (image[:, ::-1], mask[:, ::-1]) if generator.random() < 0.5 else (image, mask)

    def loss(self, module: Vae, batch: Batch) -> Tensor:
        """Compare in opponent colours, with more weight on objects and edges."""
        image, mask = batch["image"], batch["mask"]
        latents, residual = self._latents(module, image)
        noisy = latents + LATENT_NOISE * torch.randn_like(latents)
        with torch.autocast(image.device.type, torch.bfloat16):
            decoded = module.decoder.raw(noisy.contiguous(memory_format=torch.channels_last))
        weight = 0.8 + 3 * F.max_pool2d(mask, 5, 1, 2)
        weight = weight / weight.mean()
        difference = opponent(decoded.float() - image) * torch.tensor(CHANNEL_WEIGHTS).to(image)[:, None, None]
        levels = ((difference.abs() + 1.5 * difference**2) * weight).mean()
        across = (difference.diff(dim=3).abs() * weight[..., 1:]).mean()
        down = (difference.diff(dim=2).abs() * weight[:, :, 1:]).mean()
        small = 2e-3 * (residual[:, :3] ** 2).mean() + 4e-3 * (residual[:, 3] ** 2).mean()
        return levels + 0.5 * (across + down) + small

    def _latents(self, module: Vae, image: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(image.device.type, torch.bfloat16):
            return module.encoder.raw(image)

    def evaluate(self, module: Vae) -> Metrics:
        """Measure PSNR and colour error of objects on white, and PSNR of rooms."""
        white, mask, rooms = self._held
        decoded, decoded_rooms = round_trip(module, white), round_trip(module, rooms)
        metrics = {
            "object_psnr": psnr(decoded, white, mask),
            "white_psnr": psnr(decoded, white),
            "colour_error": colour_error(decoded, white, mask),
            "scene_psnr": psnr(decoded_rooms, rooms),
        }
        return {"score": metrics["object_psnr"] + metrics["scene_psnr"], **metrics}


@dataclass
class VaeDecoderTask(VaeTask):
    """Train the decoder further with a frozen encoder, whose latents can be cached meanwhile.

    Args:
        data: folder of the data sets.
        start: `state_dict` of the module of `VaeTask`.
    """

    name: str = "vae_decoder"
    schedule: TrainingSchedule = field(
        default_factory=lambda: TrainingSchedule(
            steps=2700, batch=16, learning_rate=1.5e-3, weight_decay=1e-4, beta2=0.95, decay=1.0, evaluate_every=200
        )
    )
    small_until: float = 0.4
    start: Mapping[str, Tensor] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """Load the trained VAE and standardise its latents."""
        module = Vae()
        module.load_state_dict(dict(self.start))
        module.encoder.requires_grad_(False)
        standardise(module, self.white, self.rooms)
        return module

    def _latents(self, module: Vae, image: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return super()._latents(module, image)


def standardise(module: Vae, white: Chunks, rooms: Chunks, count: int = 128) -> None:
    """Set the statistics of encoder and decoder so that scaled latents have mean 0 and standard deviation 1.

    Args:
        module: encoder and decoder; changed in place.
        white: views, half of the measured pictures.
        rooms: photos, the other half.
        count: number of pictures of each.
    """
    views = np.stack([white.sample(index)["image"] for index in range(count)])
    photos = [
        rooms.sample(index)["photo"][128:256, left : left + SIDE] for index in range(count // 2) for left in (64, 320)
    ]
    mean, deviation = statistics(module.encoder, [views, np.stack(photos)])
    for part in (module.encoder, module.decoder):
        part.shift.copy_(mean)
        part.scale.copy_(1 / (deviation * LATENT_SCALE))


def round_trip(module: Vae, images: Tensor) -> Tensor:
    """Encode and decode, (N, 3, H, W) in -1..1, clamped to that range."""
    parts = []
    for start in range(0, len(images), 16):
        part = images[start : start + 16]
        with torch.autocast(part.device.type, torch.bfloat16):
            parts.append(module.decoder.raw(module.encoder.raw(part)[0]).float().clamp(-1, 1))
    return torch.cat(parts)


def _room_crop(sample: dict[str, Array], generator: np.random.Generator) -> tuple[Array, Array]:
    """Crop a part of a photo or of its background, at the photo's scale or half of it, as inpainting does."""
    step = int(generator.integers(1, 3))
    height, width = sample["photo"].shape[:2]
    top = int(generator.integers(height - SIDE * step + 1))
    left = int(generator.integers(width - SIDE * step + 1))
    rows, columns = slice(top, top + SIDE * step, step), slice(left, left + SIDE * step, step)
    if generator.random() < 0.4:
        return sample["background"][rows, columns], np.zeros((SIDE, SIDE), np.bool_)
    return sample["photo"][rows, columns], sample["masks"][:, rows, columns].any(axis=0)


def _small_crop(image: Array, mask: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    """Crop a quarter of a picture, mostly about a pixel of the object."""
    places = np.argwhere(mask)
    middle = places[generator.integers(len(places))] if len(places) else generator.integers(0, SIDE, 2)
    top, left = np.clip(middle - SMALL_SIDE // 2 + generator.integers(-8, 9, 2), 0, SIDE - SMALL_SIDE)
    window = slice(top, top + SMALL_SIDE), slice(left, left + SMALL_SIDE)
    return image[window], mask[window]


def _held_out(data: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Return views, their masks, and the middles of rooms."""
    white, rooms = WHITE.held(data), PHOTOS.held(data)
    views = [white.sample(index) for index in range(0, 96)]
    tensors = _as_tensors([each["image"] for each in views], [each["mask"] for each in views])
    middles = [rooms.sample(index)["photo"][64:320, 128:384] for index in range(32)]
    pictures = _as_tensors(middles, [np.zeros(middle.shape[:2], np.bool_) for middle in middles])
    return tensors["image"], tensors["mask"], pictures["image"]


def _as_tensors(images: list[Array], masks: list[Array]) -> dict[str, Tensor]:
    image = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    return {
        "image": image.contiguous(memory_format=torch.channels_last),
        "mask": torch.from_numpy(np.stack(masks))[:, None].float(),
    }
