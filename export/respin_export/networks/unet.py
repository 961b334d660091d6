"""The two denoising UNets with classifier-free guidance inside the graph, around diffusers' class.

Each sample is doubled inside the graph and gives one guided prediction. `timestep` and `guidance` are per sample, so
that samples at different steps share a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def apply_guidance(unconditional: Tensor, conditional: Tensor, guidance: Tensor) -> Tensor:
    """Apply classifier-free guidance (Ho and Salimans 2022), in Stable Diffusion's form.

    Args:
        unconditional: (B, C, H, W), prediction without the condition.
        conditional: the same with it.
        guidance: (B, 1); 1 gives the conditional prediction, more overshoots it.
    """
    return unconditional + guidance[:, :, None, None] * (conditional - unconditional)


class Zero123UNet(nn.Module):
    """The network of the contract `zero123_unet`.

    Args:
        unet: diffusers' UNet2DConditionModel of 8 input channels: the noisy latents, then the object's.
    """

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self, latents: Tensor, timestep: Tensor, context: Tensor, image_latents: Tensor, guidance: Tensor
    ) -> Tensor:
        """Predict the noise in a view's latents.

        Without the condition both the object's latents and the projected context are zeros
        (cvlab-columbia/zero123, zero123/gradio_new.py, `sample_model`).

        Args:
            latents: (B, 4, h, w) float32.
            timestep: (B, 1) float32, 0..999.
            context: (B, 1, 768) float32, of `ClipVision`.
            image_latents: (B, 4, h, w) float32, the VAE's mean, not scaled.
            guidance: (B, 1) float32.

        Returns:
            (B, 4, h, w) float32: the guided prediction.
        """
        sample = torch.cat(
            [
                torch.cat([latents, torch.zeros_like(image_latents)], dim=1),
                torch.cat([latents, image_latents], dim=1),
            ]
        )
        contexts = torch.cat([torch.zeros_like(context), context])
        unconditional, conditional = _both_predictions(self.unet, sample, timestep, contexts)
        return apply_guidance(unconditional, conditional, guidance)

    def predict_conditional(self, latents: Tensor, timestep: Tensor, context: Tensor, image_latents: Tensor) -> Tensor:
        """Predict the noise with the condition alone, as `forward` at guidance 1, in half of the arithmetic."""
        sample = torch.cat([latents, image_latents], dim=1)
        noise: Tensor = self.unet(sample, timestep[:, 0], context, return_dict=False)[0]
        return noise


class InpaintUNet(nn.Module):
    """The network of the contract `inpaint_unet`.

    Args:
        unet: diffusers' UNet2DConditionModel of 9 input channels: latents, mask, masked image's latents.
    """

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(  # noqa: PLR0917 (the contract's inputs, in its order)
        self,
        latents: Tensor,
        timestep: Tensor,
        contexts: Tensor,
        mask: Tensor,
        masked_image_latents: Tensor,
        guidance: Tensor,
    ) -> Tensor:
        """Predict the noise in a background's latents.

        The negative prompt takes the place of the empty condition; mask and masked image stay in both halves
        (diffusers, pipeline_stable_diffusion_inpaint.py).

        Args:
            latents: (B, 4, h, w) float32.
            timestep: (B, 1) float32, 0..999.
            contexts: (B, 2, 77, 768) float32, of the prompt, of the negative prompt.
            mask: (B, 1, h, w) float32, 1 = repaint.
            masked_image_latents: (B, 4, h, w) float32, scaled by 0.18215.
            guidance: (B, 1) float32.

        Returns:
            (B, 4, h, w) float32: the guided prediction.
        """
        sample = torch.cat([latents, mask, masked_image_latents], dim=1)
        negative_first = torch.cat([contexts[:, 1], contexts[:, 0]])
        unconditional, conditional = _both_predictions(self.unet, torch.cat([sample, sample]), timestep, negative_first)
        return apply_guidance(unconditional, conditional, guidance)

    def predict_conditional(
        self, latents: Tensor, timestep: Tensor, contexts: Tensor, mask: Tensor, masked_image_latents: Tensor
    ) -> Tensor:
        """Predict the noise with the prompt alone, as `forward` at guidance 1, in half of the arithmetic."""
        sample = torch.cat([latents, mask, masked_image_latents], dim=1)
        noise: Tensor = self.unet(sample, timestep[:, 0], contexts[:, 0], return_dict=False)[0]
        return noise


def _both_predictions(unet: nn.Module, sample: Tensor, timestep: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
    """Run a doubled batch, unconditional half first, and split the result."""
    noise = unet(sample, torch.cat([timestep, timestep])[:, 0], contexts, return_dict=False)[0]
    batch = timestep.shape[0]
    # Not `chunk`: the exporter's optimizer fails on halves of a free batch axis.
    return noise[:batch], noise[batch:]
