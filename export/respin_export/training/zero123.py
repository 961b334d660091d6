"""Training of the mini set's Zero123, from a view's latents and a camera move to the latents of the view from there."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from respin.camera import camera_shift
from respin.contracts.networks import CONTEXT_WIDTH
from respin.specs import Array
from respin_export.mini.unets import ZERO123_WIDTHS, CleanLatents
from respin_export.mini.vae import LATENT_SCALE, MiniVaeDecoder, MiniVaeEncoder
from respin_export.training.chunks import Chunks
from respin_export.training.diffusion import add_noise, ddim, decode, draw_levels
from respin_export.training.latents import encode
from respin_export.training.loop import Batch, Metrics, TrainingSchedule
from respin_export.training.quality import psnr, silhouette_iou
from respin_export.training.views import VIEWS

CAMERA_NUMBERS = 4

RAGGED_SHARE = 0.6
"""Share of the inputs with the faults of a cut-out."""

DECODED_SHARE = 0.5
"""Share of the predictions in a batch that are decoded and compared as pictures."""

SILHOUETTE_WEIGHT = 0.6
"""Weight of the silhouette in the loss."""

WHITE_LEVEL, SOFTNESS = 24 / 127.5, 0.06
"""Distance from white at which a channel counts as object, and half the width of the soft edge there, in levels of
-1..1."""

CONTEXT_NOISE = 0.02
"""Standard deviation of noise on the context: the untrained image tower adds as much in the job."""


class ViewNetwork(nn.Module):
    """The trained layers: the UNet, and the camera's part of the projection after CLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.clean = CleanLatents(8, ZERO123_WIDTHS)
        self.camera = nn.Linear(CAMERA_NUMBERS, CONTEXT_WIDTH)
        nn.init.normal_(self.camera.weight, 0, 1)

    def forward(self, latents: Tensor, timestep: Tensor, camera: Tensor, known: Tensor, guidance: Tensor) -> Tensor:
        """Predict clean latents (B, 4, h, w) of the view that a camera move, (B, 4), leads to."""
        context = self.camera(camera)[:, None]
        context = context + CONTEXT_NOISE * torch.randn_like(context)
        predicted: Tensor = self.clean(torch.cat([latents, known], dim=1), timestep, context, guidance)
        return predicted


def encode_views(encoder: MiniVaeEncoder, chunk: Mapping[str, Array]) -> dict[str, Array]:
    """Encode a chunk of `VIEWS`: pictures become latents, (N, ..., 4, h, w) float16, other arrays are kept."""
    encoded = {}
    for name in ("input", "ragged", "target"):
        pictures = chunk[name]
        flat = pictures.reshape(-1, *pictures.shape[-3:])
        latents = encode(encoder, flat)
        encoded[name] = latents.reshape(*pictures.shape[:-3], *latents.shape[1:])
    kept = ("coverage", "target_coverage", "azimuth", "polar", "kind")
    return encoded | {name: np.asarray(chunk[name]) for name in kept}


@dataclass
class Zero123Task:
    """Train the novel view's UNet on cached latents.

    Args:
        data: folder of the data sets; `views-latents` and `views-held-out-latents` are read.
        decoder: decoder of the trained VAE, for the evaluation.
    """

    data: Path
    decoder: MiniVaeDecoder
    name: str = "zero123"
    schedule: TrainingSchedule = field(
        default_factory=lambda: TrainingSchedule(
            steps=12500, batch=32, learning_rate=1.5e-3, average=0.998, evaluate_every=500
        )
    )

    def __post_init__(self) -> None:
        """Read the latents into memory."""
        chunks = Chunks(self.data / "views-latents")
        self._arrays = {name: chunks.column(name) for name in ("input", "ragged", "target", "azimuth", "polar")}
        self._arrays |= {name: chunks.column(name) for name in ("coverage", "target_coverage")}
        self._views = VIEWS.training(self.data)
        self._held = _held_out(self.data)
        self._copies: dict[torch.device, MiniVaeDecoder] = {}

    def build(self) -> nn.Module:
        """Build the UNet and the camera's projection."""
        return ViewNetwork()

    def batch(self, size: int, generator: np.random.Generator, progress: float) -> Batch:
        """Draw pairs: known and wanted latents (B, 4, h, w), camera (B, 4), weight (B, 1, h, w), timestep (B, 1).

        Pictures (B / 2, 3, H, W) in -1..1 are those of the first targets.
        """
        arrays, inputs, targets = self._arrays, self._arrays["input"].shape[1], self._arrays["target"].shape[2]
        which = generator.integers(len(arrays["input"]), size=size)
        turned = generator.integers(inputs, size=size)
        target = generator.integers(targets, size=size)
        ragged = generator.random(size) < RAGGED_SHARE
        exact = arrays["input"][which, turned]
        known = np.where(ragged[:, None, None, None], arrays["ragged"][which, turned], exact)
        moves = zip(arrays["azimuth"][which, turned, target], arrays["polar"][which, turned, target], strict=True)
        covered = torch.from_numpy(arrays["target_coverage"][which, turned, target]).float()[:, None] / 255
        before = torch.from_numpy(arrays["coverage"][which, turned]).float()[:, None] / 255
        weight = 0.5 + 2 * torch.maximum(F.max_pool2d(covered, 3, 1, 1), 0.5 * before)
        decoded = zip(which, turned, target, strict=True)
        pictures = [self._picture(*place) for place in itertools.islice(decoded, int(size * DECODED_SHARE))]
        return {
            "picture": torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1,
            "known": torch.from_numpy(known).float(),
            "wanted": torch.from_numpy(arrays["target"][which, turned, target]).float(),
            "camera": torch.from_numpy(np.stack([camera_shift(*move) for move in moves])),
            "weight": weight / weight.mean(dim=(1, 2, 3), keepdim=True),
            **draw_levels(size, generator),
        }

    def _picture(self, sample: int, turned: int, target: int) -> Array:
        """Return a rendered target, (side, side, 3) uint8."""
        return np.asarray(self._views.sample(int(sample))["target"][turned, target])

    def loss(self, module: Any, batch: Batch) -> Tensor:
        """Compare predicted with true clean latents, object cells weighted above white, and some of them as pictures.

        An edge that may lie here or there becomes a grey halo in the mean of the latents, and the halo counts as
        object: with latents alone, silhouettes were a tenth too large.
        """
        wanted = batch["wanted"]
        noisy = add_noise(wanted, batch["timestep"])
        with torch.autocast(wanted.device.type, torch.bfloat16):
            got = module(noisy, batch["timestep"], batch["camera"], batch["known"], batch["guidance"])
        error = got.float() - wanted
        weighted: Tensor = (error.abs() + 0.25 * error**2) * batch["weight"]
        return weighted.mean() + self._picture_loss(got[: len(batch["picture"])], batch["picture"])

    def _picture_loss(self, latents: Tensor, picture: Tensor) -> Tensor:
        """Compare decoded latents with pictures (B, 3, H, W): their pixels and their silhouettes."""
        decoder = self._decoder_on(latents.device)
        with torch.autocast(latents.device.type, torch.bfloat16):
            decoded = decoder(latents / LATENT_SCALE).float()
        silhouette = (picture.amin(dim=1) < 1 - WHITE_LEVEL).float()
        shown = ((1 - WHITE_LEVEL - decoded.amin(dim=1)) / SOFTNESS).clamp(-8, 8)
        outline = F.binary_cross_entropy_with_logits(shown, silhouette)
        loss: Tensor = (decoded - picture).abs().mean() + SILHOUETTE_WEIGHT * outline
        return loss

    def _decoder_on(self, device: torch.device) -> MiniVaeDecoder:
        """Return the decoder on a device, copied once; the evaluation needs the original on the CPU."""
        if device.type == "cpu":
            return self.decoder
        if device not in self._copies:
            self._copies[device] = copy.deepcopy(self.decoder).to(device)
        return self._copies[device]

    def evaluate(self, module: Any) -> Metrics:
        """Measure one-step and 12-step predictions on held-out views against copying the input."""
        known, wanted, camera, pictures, mask = self._held
        once = self._turned(module, known, camera, steps=1)
        often = self._turned(module, known, camera, steps=12)
        copied = decode(self.decoder, known)
        return {
            "score": psnr(often, pictures),
            "psnr_1": psnr(once, pictures),
            "psnr_12": psnr(often, pictures),
            "object_12": psnr(often, pictures, mask),
            "iou_1": silhouette_iou(once, mask),
            "iou_12": silhouette_iou(often, mask),
            "copy": psnr(copied, pictures),
            "copy_iou": silhouette_iou(copied, mask),
            "ceiling": psnr(decode(self.decoder, wanted), pictures),
        }

    def _turned(self, module: Any, known: Tensor, camera: Tensor, *, steps: int) -> Tensor:
        """Return pictures of the views that the network samples."""
        latents = ddim(
            lambda noisy, timestep, guidance: module(noisy, timestep, camera, known, guidance),
            known.shape,
            steps=steps,
            guidance=3.0,
        )
        return decode(self.decoder, latents)


def _held_out(data: Path, count: int = 96) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return ragged inputs, true latents, cameras, true pictures and masks of held-out views, one of each object."""
    latents, pictures = Chunks(data / "views-held-out-latents"), VIEWS.held(data)
    known, wanted, camera, images = [], [], [], []
    for index in range(count):
        encoded, rendered = latents.sample(index), pictures.sample(index)
        known.append(encoded["ragged"][0])
        wanted.append(encoded["target"][0, 0])
        camera.append(camera_shift(encoded["azimuth"][0, 0], encoded["polar"][0, 0]))
        images.append(rendered["target"][0, 0])
    image = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    mask = (image.amin(dim=1, keepdim=True) < 0.98).float()
    return (
        torch.from_numpy(np.stack(known)).float(),
        torch.from_numpy(np.stack(wanted)).float(),
        torch.from_numpy(np.stack(camera)),
        image,
        mask,
    )
