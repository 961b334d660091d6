"""The two denoising UNets with classifier-free guidance inside the graph, around diffusers' class.

Each sample is doubled inside the graph and gives one guided prediction. `timestep` and `guidance` are per sample, so
that samples at different steps share a batch. `guidance` may have fewer values than there are samples: those beyond are
not doubled.
"""

from __future__ import annotations

from typing import NamedTuple

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


class Half(NamedTuple):
    """The condition of one half of a doubled batch.

    Args:
        sample: (B, C, h, w), input of diffusers' UNet.
        context: (B, tokens, 768).
    """

    sample: Tensor
    context: Tensor


class GuidedUNet(nn.Module):
    """A UNet that doubles the samples that are guided.

    Args:
        unet: diffusers' UNet2DConditionModel.
    """

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def predict_conditional(self, **inputs: Tensor) -> Tensor:
        """Predict the noise with the condition alone, as at guidance 1, in half of the arithmetic."""
        noise: Tensor = self(**inputs, guidance=inputs["timestep"][:0])
        return noise

    def _predict(self, unconditional: Half, conditional: Half, timestep: Tensor, guidance: Tensor) -> Tensor:
        """Run the guided samples of the unconditional half, then all of the other, in one batch.

        Args:
            unconditional: inputs without the condition.
            conditional: inputs with it.
            timestep: (B, 1).
            guidance: (G, 1), of the first G samples; G is 0 to B.
        """
        guided = guidance.shape[0]
        sample, context, timesteps = (
            torch.cat([without[:guided], with_])
            for without, with_ in (*zip(unconditional, conditional, strict=True), (timestep, timestep))
        )
        noise = self.unet(sample, timesteps[:, 0], context, return_dict=False)[0]
        # Not `chunk`: the exporter's optimizer fails on parts of a free batch axis.
        without, with_ = noise[:guided], noise[guided:]
        return torch.cat([apply_guidance(without, with_[:guided], guidance), with_[guided:]])


class Zero123UNet(GuidedUNet):
    """The network of the contract `zero123_unet`.

    Args:
        unet: diffusers' UNet2DConditionModel of 8 input channels: the noisy latents, then the object's.
    """

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
            guidance: (G, 1) float32, of the first G samples; the others have none.

        Returns:
            (B, 4, h, w) float32: the guided prediction.
        """
        return self._predict(
            Half(torch.cat([latents, torch.zeros_like(image_latents)], dim=1), torch.zeros_like(context)),
            Half(torch.cat([latents, image_latents], dim=1), context),
            timestep,
            guidance,
        )


class InpaintUNet(GuidedUNet):
    """The network of the contract `inpaint_unet`.

    Args:
        unet: diffusers' UNet2DConditionModel of 9 input channels: latents, mask, masked image's latents.
    """

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
            guidance: (G, 1) float32, of the first G samples; the others have none.

        Returns:
            (B, 4, h, w) float32: the guided prediction.
        """
        sample = torch.cat([latents, mask, masked_image_latents], dim=1)
        return self._predict(Half(sample, contexts[:, 1]), Half(sample, contexts[:, 0]), timestep, guidance)
