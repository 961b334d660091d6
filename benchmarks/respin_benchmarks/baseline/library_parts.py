"""Networks of the contracts in the places where diffusers' pipelines expect the library's own classes."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.configuration_utils import FrozenDict
from torch import Tensor, nn


def library_vae(encoder: nn.Module, decoder: nn.Module) -> AutoencoderKL:
    """Both halves as the library's class: a small one of the same number of levels, with its parts replaced."""
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
    ).eval()
    vae.encoder, vae.quant_conv = _Moments(encoder), nn.Identity()
    vae.decoder, vae.post_quant_conv = decoder, nn.Identity()
    return vae


class _Moments(nn.Module):
    """Mean and log-variance in the one tensor that the library takes apart."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat(self.encoder(image), dim=1)


def library_unet(network: nn.Module, guidance: float) -> nn.Module:
    """The UNet as the library's pipelines call it."""
    unet = getattr(network, "unet", None)
    return unet if isinstance(unet, nn.Module) else _GuidedInside(network, guidance)


class _GuidedInside(nn.Module):
    """A network with the guidance as an input, in the place of a UNet that is called with both halves.

    It returns its one prediction for each half, so that the pipeline's own formula leaves it as it is.
    """

    def __init__(self, network: nn.Module, guidance: float) -> None:
        super().__init__()
        self.network, self.guidance = network, guidance
        channels = 9 if "mask" in inspect.signature(network.forward).parameters else 8
        self.config = FrozenDict(in_channels=channels, sample_size=64, time_cond_proj_dim=None)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(
        self, sample: Tensor, timestep: Tensor | float, encoder_hidden_states: Tensor, **_options: Any
    ) -> tuple[Tensor]:
        half = len(sample) // 2
        latents, condition = sample[half:, :4], sample[half:, 4:]
        without, with_it = encoder_hidden_states.chunk(2)
        step = torch.as_tensor(timestep, dtype=torch.float32).expand(half, 1)
        guidance = torch.full((half, 1), self.guidance)
        if condition.shape[1] == 4:
            noise = self.network(latents, step, with_it, condition, guidance)
        else:
            contexts = torch.stack([with_it, without], dim=1)
            noise = self.network(latents, step, contexts, condition[:, :1], condition[:, 1:], guidance)
        return (torch.cat([noise, noise]),)
