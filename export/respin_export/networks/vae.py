"""The encoder and the decoder of Stable Diffusion's VAE, around diffusers' class.

The latent scale 0.18215 is applied outside: Zero123 and inpainting apply it at different places.
"""

from __future__ import annotations

from diffusers import AutoencoderKL
from torch import Tensor, nn

SMALLEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE = -30.0, 20.0
"""Clamp of the posterior (CompVis/latent-diffusion, DiagonalGaussianDistribution)."""


class VaeEncoder(nn.Module):
    """The network of the contract `vae_encoder`."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.encoder = vae.encoder
        self.quant_conv = vae.quant_conv

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images.

        Args:
            image: (B, 3, H, W) float32, RGB, -1..1.

        Returns:
            mean and log-variance of the latents, each (B, 4, H/8, W/8) float32.
        """
        mean, log_variance = self.quant_conv(self.encoder(image)).chunk(2, dim=1)
        return mean, log_variance.clamp(SMALLEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)


class VaeDecoder(nn.Module):
    """The network of the contract `vae_decoder`."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.post_quant_conv = vae.post_quant_conv
        self.decoder = vae.decoder

    def forward(self, latents: Tensor) -> Tensor:
        """Decode latents.

        Args:
            latents: (B, 4, h, w) float32, already divided by 0.18215.

        Returns:
            (B, 3, 8h, 8w) float32, RGB, about -1..1, not clamped.
        """
        image: Tensor = self.decoder(self.post_quant_conv(latents))
        return image
