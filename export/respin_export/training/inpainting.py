"""Training of the mini set's inpainting, from the latents of a room with a hole to those of the empty room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from respin.contracts.networks import CONTEXT_WIDTH, IMAGE_HEIGHT
from respin.geometry import Size, bounding_box, expand, fit_within
from respin.scenes.room import blur
from respin.specs import Array
from respin_export.mini.sizes import SIZES
from respin_export.mini.unets import MiniInpaintUNet, uncertain
from respin_export.mini.vae import MiniVaeDecoder, MiniVaeEncoder
from respin_export.training.chunks import Chunks
from respin_export.training.diffusion import add_noise, ddim, decode, draw_levels
from respin_export.training.latents import encode
from respin_export.training.loop import Batch, Metrics, TrainingSchedule
from respin_export.training.quality import psnr

HOLES = 4
"""Number of holes in each room: the object's, that of an object of another photo, and both in the mirrored room."""

DILATE_PX = 50
"""Width by which a hole exceeds its object, px: the job's default."""

HOLE_SEED = 0

STRIDE = 8
GREY = 128

OUTSIDE_WEIGHT = 0.05
"""Weight of the known latents in the loss: they are inputs."""


def grown(mask: Array, width_px: int) -> Array:
    """Widen a mask, (H, W) bool, by a square of odd side near `width_px`."""
    return blur(mask.astype(np.float32), width_px // 2, times=1) > 1e-4


def room_with_hole(photo: Array, background: Array, hole: Array) -> tuple[Array, Array, Array]:
    """Crop the inpainting's part of a photo, as the job does.

    Args:
        photo: (H, W, 3) uint8, with its objects.
        background: (H, W, 3) uint8, the target inside the hole.
        hole: (H, W) bool.

    Returns:
        wanted and masked (S, S, 3) uint8: the repaired crop and the crop with its hole grey; repaint (S, S) bool.
        S is the set's `inpaint_side`: the crop is scaled to it and padded with its edge.
    """
    inner = bounding_box(hole)
    size = Size.from_array(photo)
    place = expand(inner, max(STRIDE, inner.size.longest // 2), size)
    rows, columns = place.within(size)
    fit = fit_within(place.size, SIZES.inpaint_side, IMAGE_HEIGHT.multiple_of)
    resized = (fit.fitted.width, fit.fitted.height)
    repaired = np.where(hole[..., None], background, photo)[rows, columns]
    crop = np.asarray(Image.fromarray(repaired).resize(resized, Image.Resampling.LANCZOS))
    grey = Image.fromarray(hole[rows, columns].astype(np.uint8) * np.uint8(255)).resize(
        resized, Image.Resampling.LANCZOS
    )
    below, right = SIZES.inpaint_side - fit.fitted.height, SIZES.inpaint_side - fit.fitted.width
    repaint = np.pad(np.asarray(grey) >= 128, ((0, below), (0, right)))
    wanted = np.pad(crop, ((0, below), (0, right), (0, 0)), mode="edge")
    return wanted, np.where(repaint[..., None], np.uint8(GREY), wanted), repaint


def encode_rooms(encoder: MiniVaeEncoder, chunk: Mapping[str, Array]) -> dict[str, Array]:
    """Cut `HOLES` holes into each photo of a chunk of `PHOTOS` and encode the network's inputs and targets.

    Returns:
        wanted and known (N, HOLES, 4, h, w) float16, repaint (N, HOLES, 1, h, w) bool.
    """
    generator = np.random.default_rng([HOLE_SEED, len(chunk["photo"])])
    rooms = [_rooms(chunk, index, generator) for index in range(len(chunk["photo"]))]
    wanted, masked, repaint = (np.stack([np.stack(each) for each in part]) for part in zip(*rooms, strict=True))
    side = SIZES.inpaint_side // STRIDE
    shape = (*wanted.shape[:2], 4, side, side)
    return {
        "wanted": encode(encoder, wanted.reshape(-1, *wanted.shape[2:])).reshape(shape),
        "known": encode(encoder, masked.reshape(-1, *masked.shape[2:])).reshape(shape),
        # The job takes every eighth pixel of its mask.
        "repaint": repaint[:, :, None, ::STRIDE, ::STRIDE],
    }


def _rooms(
    chunk: Mapping[str, Array], index: int, generator: np.random.Generator
) -> tuple[list[Array], list[Array], list[Array]]:
    """Return the crops of one photo, (wanted, masked, repaint), one for each hole."""
    photo, background = chunk["photo"][index], chunk["background"][index]
    found: tuple[list[Array], list[Array], list[Array]] = ([], [], [])
    for hole_of in range(HOLES):
        own, mirrored = hole_of % 2 == 0, hole_of >= 2
        mask = chunk["masks"][index if own else int(generator.integers(len(chunk["photo"]))), 0]
        if not own and generator.random() < 0.5:
            mask = mask[:, ::-1].copy()
        # A hole elsewhere is cut into the room without the object, so that its target has no object.
        shown = (photo if own else background, background, grown(mask, DILATE_PX))
        room = [array[:, ::-1] for array in shown] if mirrored else shown
        for part, array in zip(found, room_with_hole(*room), strict=True):
            part.append(array)
    return found


@dataclass
class InpaintTask:
    """Train the background's UNet on cached latents.

    Args:
        data: folder of the data sets; `rooms-latents` and `rooms-held-out-latents` are read.
        decoder: decoder of the trained VAE, for the evaluation.
    """

    data: Path
    decoder: MiniVaeDecoder
    name: str = "inpainting"
    schedule: TrainingSchedule = field(
        default_factory=lambda: TrainingSchedule(
            steps=6500, batch=16, learning_rate=1.5e-3, average=0.998, evaluate_every=500
        )
    )

    def __post_init__(self) -> None:
        """Read the latents into memory."""
        chunks = Chunks(self.data / "rooms-latents")
        self._arrays = {name: chunks.column(name) for name in ("wanted", "known", "repaint")}
        held = Chunks(self.data / "rooms-held-out-latents")
        # The object's own holes, as the job makes them.
        self._held = {
            name: torch.from_numpy(held.column(name)[:64, 0]).float() for name in ("wanted", "known", "repaint")
        }

    def build(self) -> nn.Module:
        """Build the UNet."""
        return MiniInpaintUNet()

    def batch(self, size: int, generator: np.random.Generator, progress: float) -> Batch:
        """Draw rooms: wanted and known (B, 4, h, w), mask (B, 1, h, w), tokens (B, 2, 768), timestep (B, 1)."""
        which = generator.integers(len(self._arrays["wanted"]), size=size)
        hole = generator.integers(HOLES, size=size)
        parts = {name: torch.from_numpy(array[which, hole]).float() for name, array in self._arrays.items()}
        return {
            "wanted": parts["wanted"],
            "known": parts["known"],
            "mask": parts["repaint"],
            "tokens": torch.from_numpy(generator.standard_normal((size, 2, CONTEXT_WIDTH), np.float32)),
            **draw_levels(size, generator),
        }

    def loss(self, module: MiniInpaintUNet, batch: Batch) -> Tensor:
        """Compare predicted with true clean latents in and next to the hole."""
        wanted, mask = batch["wanted"], batch["mask"]
        noisy = add_noise(wanted, batch["timestep"])
        with torch.autocast(wanted.device.type, torch.bfloat16):
            got = module.predict(noisy, batch["timestep"], batch["tokens"], mask, batch["known"], batch["guidance"])
        error = got.float() - wanted
        weight = uncertain(mask) + OUTSIDE_WEIGHT
        each = ((0.5 * error.abs() + error**2) * weight).sum(dim=(1, 2, 3)) / (4 * weight.sum(dim=(1, 2, 3)))
        return each.mean()

    def evaluate(self, module: Any) -> Metrics:
        """Measure the PSNR of the repaired hole in dB, with one step and with 12."""
        wanted, mask = self._held["wanted"], self._held["repaint"]
        truth = decode(self.decoder, wanted)
        hole = nn.functional.interpolate(mask, scale_factor=float(STRIDE))
        metrics = {f"hole_{steps}": psnr(self._painted(module, steps), truth, hole) for steps in (1, 12)}
        return {"score": metrics["hole_12"], **metrics}

    def _painted(self, module: MiniInpaintUNet, steps: int) -> Tensor:
        """Return pictures of the rooms that the network samples."""
        known, mask = self._held["known"], self._held["repaint"]
        tokens = torch.randn(len(known), 2, CONTEXT_WIDTH, generator=torch.Generator().manual_seed(6))
        latents = ddim(
            lambda noisy, timestep, guidance: module.predict(noisy, timestep, tokens, mask, known, guidance),
            known.shape,
            steps=steps,
            guidance=7.5,
        )
        return decode(self.decoder, latents)
