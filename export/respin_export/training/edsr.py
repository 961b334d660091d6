"""Training of the mini set's EDSR: views on white and rooms, enlarged four times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor, nn

from respin.scenes import SceneOptions, render_scene
from respin.specs import Array
from respin_export.mini.edsr import TrainedEdsr, to_edsr
from respin_export.mini.sizes import SIZES
from respin_export.networks.edsr import SCALE, Edsr
from respin_export.training.loop import Batch, Metrics, TrainingSchedule, load_weights
from respin_export.training.scenes import PHOTOS, DataSet

SIDE = 40
"""Side of a training crop before it is enlarged, px."""

SHARE_VIEWS = 0.65
"""Share of the crops with an object on white, which the job enlarges; the others show a room."""

SHARE_FAULTY = 0.3
"""Share of inputs with the faults of a decoded view: softer, noisier."""

SOFTNESS_PX, NOISE_LEVELS = 0.7, 4.0
"""Largest standard deviation of the blur, px of the input, and of the noise, levels of 0..255."""

HELD_VIEWS, HELD_ROOMS = 32, 24

SCHEDULE = TrainingSchedule(
    steps=900, batch=8, learning_rate=1.5e-3, warmup=40, weight_decay=0.0, decay=1.0, evaluate_every=225
)


@dataclass
class EdsrTask:
    """Train EDSR on views and rooms.

    Args:
        data: folder of the data sets.
    """

    data: Path
    name: str = "edsr"
    schedule: TrainingSchedule = SCHEDULE

    def __post_init__(self) -> None:
        """Open the data."""
        self.views, self.rooms = LARGE_VIEWS.training(self.data), PHOTOS.training(self.data)
        views, rooms = LARGE_VIEWS.held(self.data), PHOTOS.held(self.data)
        self._held = {
            "views": [views.sample(index)["image"] for index in range(min(HELD_VIEWS, len(views)))],
            "rooms": [rooms.sample(index)["photo"] for index in range(min(HELD_ROOMS, len(rooms)))],
        }

    def build(self) -> nn.Module:
        """Build the form of the network that is trained."""
        return TrainedEdsr()

    def batch(self, size: int, generator: np.random.Generator, progress: float) -> Batch:
        """Draw small (B, 3, side, side) and large (B, 3, 4 side, 4 side), RGB in 0..255."""
        crops = [self._draw(generator) for _ in range(size)]
        inputs = [
            add_faults(shrink(crop), generator) if generator.random() < SHARE_FAULTY else shrink(crop) for crop in crops
        ]
        return {"small": _as_tensor(inputs), "large": _as_tensor(crops)}

    def _draw(self, generator: np.random.Generator) -> Array:
        """Draw a crop of a large picture, mirrored and turned at random, with its channels in any order."""
        if generator.random() < SHARE_VIEWS:
            picture = self.views.sample(int(generator.integers(len(self.views))))["image"]
        else:
            picture = self.rooms.sample(int(generator.integers(len(self.rooms))))["photo"]
        crop = _crop(picture, generator)
        for _ in range(3):
            # Nothing can be learnt from plain white.
            if crop.min() < 250:
                break
            crop = _crop(picture, generator)
        crop = np.rot90(crop, int(generator.integers(4)))
        crop = crop[:, ::-1] if generator.random() < 0.5 else crop
        return crop[..., generator.permutation(3)]

    def loss(self, module: TrainedEdsr, batch: Batch) -> Tensor:
        """Compute the absolute error in shares of 255, times 10, plus some squared error, which PSNR measures."""
        difference = (module(batch["small"]) - batch["large"]) / 255
        error: Tensor = 10 * difference.abs().mean() + 50 * (difference**2).mean()
        return error

    def evaluate(self, module: TrainedEdsr) -> Metrics:
        """Measure the PSNR in dB of whole views and rooms, and its gain over bicubic enlargement."""
        metrics: Metrics = {}
        for name, pictures in self._held.items():
            ours = mean_psnr([enlarge(module, shrink(picture)) for picture in pictures], pictures)
            bicubic = mean_psnr([enlarge_bicubic(shrink(picture)) for picture in pictures], pictures)
            metrics |= {name: ours, f"{name}_gain": ours - bicubic}
        return {"score": metrics["views_gain"] + metrics["rooms_gain"], **metrics}


def load_trained_edsr(folder: Path) -> Edsr:
    """Load the module of the contract `edsr` from a training run.

    Args:
        folder: folder of the run, with its checkpoint.
    """
    module = TrainedEdsr()
    module.load_state_dict(load_weights(folder))
    return to_edsr(module).eval()


def render_large_views(seeds: Sequence[int]) -> Mapping[str, Array]:
    """Render an object on white at the size that views are enlarged to: image (2 N, side, side, 3) uint8."""
    images = []
    for seed in seeds:
        generator = np.random.default_rng([seed, 4])
        scene = render_scene(seed, SceneOptions(size=(64, 64), two_objects=0))
        pair = scene.views(
            side=SCALE * SIZES.view_side,
            object_share=generator.uniform(0.5, 0.85),
            azimuth=generator.uniform(-90, 90),
            polar=generator.uniform(-10, 10),
        )
        images += [pair.before, pair.after]
    return {"image": np.stack(images)}


LARGE_VIEWS = DataSet("large-views", render_large_views, seeds=800, held_out=120, chunk=40)


def shrink(picture: Array) -> NDArray[np.uint8]:
    """Reduce (4H, 4W, 3) uint8 to (H, W, 3) uint8 by the mean of 4 x 4 pixels."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).reduce(SCALE))


def add_faults(picture: Array, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Soften a picture, (H, W, 3) uint8, or add noise to it, or both."""
    first, second = generator.permutation([1.0, generator.random()]).tolist()
    softness, noise = first * generator.uniform(0, SOFTNESS_PX), second * generator.uniform(0, NOISE_LEVELS)
    soft = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(softness)), np.float32)
    noisy = soft + generator.normal(0, noise, picture.shape)
    return np.rint(noisy).clip(0, 255).astype(np.uint8)


def enlarge(module: nn.Module, picture: Array) -> NDArray[np.uint8]:
    """Enlarge (H, W, 3) uint8 to (4H, 4W, 3) uint8 by a network."""
    result: Tensor = module(_as_tensor([picture]))[0]
    return result.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def enlarge_bicubic(picture: Array) -> NDArray[np.uint8]:
    """Enlarge (H, W, 3) uint8 to (4H, 4W, 3) uint8 by Pillow's bicubic filter."""
    size = picture.shape[1] * SCALE, picture.shape[0] * SCALE
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def mean_psnr(got: list[NDArray[np.uint8]], wanted: list[Array]) -> float:
    """Return the mean over pictures, uint8, of the peak signal-to-noise ratio in dB."""
    errors = [np.mean((a.astype(np.float32) - b) ** 2) for a, b in zip(got, wanted, strict=True)]
    return float(np.mean([10 * math.log10(255**2 / max(error, 1e-6)) for error in errors]))


def _crop(picture: Array, generator: np.random.Generator) -> Array:
    side = SIDE * SCALE
    top, left = (int(generator.integers(extent - side + 1)) for extent in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def _as_tensor(pictures: Sequence[Array]) -> Tensor:
    tensor = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
    return tensor.contiguous(memory_format=torch.channels_last)
