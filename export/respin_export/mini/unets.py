"""The two UNets of the mini set: diffusers' UNet2DConditionModel on blocks of latents, predicting clean latents.

Differences from the published ones, all inside the graphs:

* Blocks of 2 x 2 latents are one cell of the network (space to depth), and the cells' coordinates are further channels.
* The network predicts the clean latents; the noise that the contract asks for is computed from them, which is exact in
  float32. Predicting noise gives the pose hardly any weight in the loss at the noisiest steps, where it is decided.
* The network is never called with nearly clean latents (`Noise`), so that it does not trust its own mistakes.
* The context enters as the class embedding too, so that the camera modulates every block: attention to a single token
  only adds a constant.
* Guidance is an input of the network, which is trained to return the same picture at every scale: a step costs one
  pass instead of two, and the scale has almost no effect.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from torch.nn import functional as F

from respin.contracts.networks import CONTEXT_WIDTH
from respin_export.mini.vae import LATENT_SCALE
from respin_export.networks.folding import attend_to_one_token

BLOCK = 2
"""Side of a cell of the network, latents."""

COORDINATES = 6
"""Number of channels with a cell's coordinates."""

TRAINING_STEPS, BETA_START, BETA_END = 1000, 0.00085, 0.012
"""Noise levels of Stable Diffusion: "scaled linear" betas."""

ZERO123_WIDTHS = (96, 160)
INPAINT_WIDTHS = (64, 64, 96)

ZERO123_NOISE_FLOOR, INPAINT_NOISE_FLOOR = 3.0, 1.0
"""See `Noise`. On 13 scenes, 1, 3 and 8 were tried for the view, of which 3 came closest to the true one; for the
background 1, 3 and 10, which differ by less than 0.1 dB."""


def noise_levels() -> Tensor:
    """Return sigma, the ratio of noise to signal, of each training step, (1000,) float64."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAINING_STEPS, dtype=torch.float64) ** 2
    signal = torch.cumprod(1 - betas, dim=0)
    return ((1 - signal) / signal).sqrt()


def denoiser(inputs: int, widths: tuple[int, ...]) -> UNet2DConditionModel:
    """Build the library's class for `inputs` channels of latents."""
    options: dict[str, Any] = {
        "in_channels": inputs * BLOCK**2 + COORDINATES,
        "out_channels": 4 * BLOCK**2,
        "down_block_types": ("CrossAttnDownBlock2D",) * len(widths),
        "up_block_types": ("CrossAttnUpBlock2D",) * len(widths),
        "block_out_channels": widths,
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "attention_head_dim": 4,
        "cross_attention_dim": CONTEXT_WIDTH,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": CONTEXT_WIDTH,
        "resnet_time_scale_shift": "scale_shift",
    }
    unet = UNet2DConditionModel(**options)
    # PyTorch's fused attention has a backward pass that takes a third of a training step on a CPU.
    unet.set_attn_processor(AttnProcessor())
    nn.init.zeros_(unet.conv_out.weight)
    return unet


class CleanLatents(nn.Module):
    """A network that predicts clean latents from noisy ones.

    Args:
        inputs: number of input channels of latents.
        widths: number of channels of each level of the UNet.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.unet = denoiser(inputs, widths)
        self.guidance = nn.Linear(1, CONTEXT_WIDTH)
        nn.init.normal_(self.guidance.weight, 0, 0.02)

    def forward(self, latents: Tensor, timestep: Tensor, tokens: Tensor, guidance: Tensor) -> Tensor:
        """Map (B, inputs, h, w) at (B, 1) time steps, with (B, T, 768) tokens, to (B, 4, h, w) float32."""
        cells = F.pixel_unshuffle(latents, BLOCK)
        cells = torch.cat([cells, coordinates(cells)], dim=1)
        embedded = tokens.mean(dim=1) + self.guidance(guidance.clamp(min=1).log())
        clean = self.unet(cells, timestep[:, 0], tokens, class_labels=embedded, return_dict=False)[0]
        return F.pixel_shuffle(clean, BLOCK).float()


class Noise(nn.Module):
    """How noisy latents are at a time step, for the network and for the sampler that calls it.

    The network is called with at least `floor`, and with latents scaled as they would be then. From less noisy latents
    it takes what it has predicted itself in earlier steps for the truth, mistakes included, instead of looking at its
    condition again: 76 steps came 1.2 dB less close to the true view than 12.

    Args:
        floor: least ratio of noise to signal that the network is called with.
    """

    sigmas: Tensor

    def __init__(self, floor: float) -> None:
        super().__init__()
        sigmas = noise_levels()
        self.register_buffer("sigmas", sigmas.float(), persistent=False)
        self.first_step = int((sigmas >= floor).nonzero()[0])

    def raise_to_floor(self, latents: Tensor, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (B, 4, h, w) latents and (B, 1) time steps that the network gets in place of the sampler's."""
        raised = timestep.clamp(self.first_step, TRAINING_STEPS - 1)
        scale = ((1 + self._sigma(timestep) ** 2) / (1 + self._sigma(raised) ** 2)).sqrt()
        return latents * scale, raised

    def noise_from_clean(self, latents: Tensor, clean: Tensor, timestep: Tensor) -> Tensor:
        """Convert (B, 4, h, w) latents and clean latents at the sampler's (B, 1) time steps to noise (B, 4, h, w)."""
        sigma = self._sigma(timestep)
        return (latents * (1 + sigma**2).sqrt() - clean) / sigma

    def _sigma(self, timestep: Tensor) -> Tensor:
        """Return the ratio of noise to signal at (B, 1) time steps, interpolated, as (B, 1, 1, 1)."""
        below = timestep.floor().long().clamp(0, TRAINING_STEPS - 1)
        above = (below + 1).clamp(max=TRAINING_STEPS - 1)
        return torch.lerp(self.sigmas[below], self.sigmas[above], timestep - below)[:, :, None, None]


class MiniZero123UNet(nn.Module):
    """The network of the contract `zero123_unet`."""

    def __init__(self) -> None:
        super().__init__()
        self.clean = CleanLatents(8, ZERO123_WIDTHS)
        self.noise = Noise(ZERO123_NOISE_FLOOR)

    def forward(
        self, latents: Tensor, timestep: Tensor, context: Tensor, image_latents: Tensor, guidance: Tensor
    ) -> Tensor:
        """Predict noise like `respin_export.networks.unet.Zero123UNet.forward`."""
        noisy, step = self.noise.raise_to_floor(latents, timestep)
        both = torch.cat([noisy, image_latents * LATENT_SCALE], dim=1)
        return self.noise.noise_from_clean(latents, self.clean(both, step, context, guidance), timestep)


def zero123_unet(trained: CleanLatents | None = None) -> MiniZero123UNet:
    """Build the network of the contract `zero123_unet` for inference.

    Args:
        trained: the trained predictor of clean latents; None = random.
    """
    module = MiniZero123UNet()
    if trained is not None:
        module.clean = trained
    attend_to_one_token(module)
    return module


class MiniInpaintUNet(nn.Module):
    """The network of the contract `inpaint_unet`: known latents are kept, only the hole is predicted."""

    def __init__(self) -> None:
        super().__init__()
        self.clean = CleanLatents(9, INPAINT_WIDTHS)
        self.noise = Noise(INPAINT_NOISE_FLOOR)

    def predict(  # noqa: PLR0917 (the contract's inputs, in its order)
        self, latents: Tensor, timestep: Tensor, tokens: Tensor, mask: Tensor, known: Tensor, guidance: Tensor
    ) -> Tensor:
        """Predict the clean latents, (B, 4, h, w); outside the mask they are those of the masked image."""
        inside: Tensor = self.clean(torch.cat([latents, mask, known], dim=1), timestep, tokens, guidance)
        return inside + known * (1 - uncertain(mask))

    def forward(  # noqa: PLR0917 (the contract's inputs, in its order)
        self,
        latents: Tensor,
        timestep: Tensor,
        contexts: Tensor,
        mask: Tensor,
        masked_image_latents: Tensor,
        guidance: Tensor,
    ) -> Tensor:
        """Predict noise like `respin_export.networks.unet.InpaintUNet.forward`."""
        tokens = contexts.mean(dim=2)
        noisy, step = self.noise.raise_to_floor(latents, timestep)
        clean = self.predict(noisy, step, tokens, mask, masked_image_latents, guidance)
        return self.noise.noise_from_clean(latents, clean, timestep)


def uncertain(mask: Tensor) -> Tensor:
    """Widen a hole, (B, 1, h, w), by a cell: the grey of the hole is in the latents next to it."""
    return F.max_pool2d(mask, 3, 1, 1)


def coordinates(cells: Tensor) -> Tensor:
    """Return the coordinates of each cell of (B, C, h, w): (B, 6, h, w), x and y in -1..1 and one wave of each."""
    rows, columns = (
        (torch.arange(length, device=cells.device, dtype=torch.float32) + 0.5) / length * 2 - 1
        for length in cells.shape[2:]
    )
    down = rows[:, None].expand(-1, cells.shape[3])
    across = columns[None].expand(cells.shape[2], -1)
    waves = [wave(torch.pi * place) for place in (across, down) for wave in (torch.sin, torch.cos)]
    return torch.stack([across, down, *waves]).to(cells)[None].expand(cells.shape[0], -1, -1, -1)
