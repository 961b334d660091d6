"""The VAE of the mini set: diffusers' AutoencoderKL at an eighth of the pictures' resolution, with colour built in.

Differences from the published one, all inside the graphs:

* The encoder sees 4 x 4 blocks of pixels as channels (space to depth) and the decoder returns them so.
* Latents 0 to 2 are the mean luma, red-green and yellow-blue of 8 x 8 pixels, latent 3 is how far they are from white,
  and the network adds residuals. A small network that had to discover colour by itself stays grey: colour is 1 % of
  the variance.
* Latents are standardised with fixed means and deviations, so that after the scale 0.18215 they have about unit
  variance, as the samplers expect.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from respin_export.networks.vae import SMALLEST_LOG_VARIANCE

STRIDE = 8
"""Side of a latent, pixels."""

BLOCK = 4
"""Side of a cell of the network, pixels."""

LATENT_SCALE = 0.18215
"""The scale of Stable Diffusion's latents, which the job applies outside the graphs."""

ENCODER_WIDTHS = (32, 64)
DECODER_WIDTHS = (64, 128)

_OPPONENT = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, -0.5, 0.0], [0.25, 0.25, -0.5]])
"""Matrix from RGB in -1..1 to luma, red-green and yellow-blue."""

_RGB = torch.linalg.inv(_OPPONENT)

_GAIN = torch.tensor([2.0, 3.0, 3.0])
_LUMA_CENTRE = 0.5


def opponent(image: Tensor) -> Tensor:
    """Convert RGB in -1..1, (B, 3, H, W), to luma, red-green and yellow-blue."""
    return F.conv2d(image, _OPPONENT.to(image)[:, :, None, None])


def autoencoder(widths: tuple[int, int]) -> AutoencoderKL:
    """Build the library's class for cells of `BLOCK` x `BLOCK` pixels."""
    return AutoencoderKL(
        in_channels=3 * BLOCK**2,
        out_channels=3 * BLOCK**2,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=widths,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        mid_block_add_attention=False,
    )


class MiniVaeEncoder(nn.Module):
    """The network of the contract `vae_encoder`."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        vae = autoencoder(ENCODER_WIDTHS)
        self.encoder, self.quant_conv = vae.encoder, vae.quant_conv
        nn.init.zeros_(self.quant_conv.weight)
        nn.init.zeros_(self.quant_conv.bias)
        self.register_buffer("shift", torch.zeros(4, 1, 1))
        self.register_buffer("scale", torch.ones(4, 1, 1))

    def residual(self, image: Tensor) -> Tensor:
        """Return the network's residual to the built-in latents, (B, 4, H/8, W/8)."""
        moments: Tensor = self.quant_conv(self.encoder(F.pixel_unshuffle(image, BLOCK)))
        return moments[:, :4].float()

    def raw(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents before standardisation, and their residual."""
        residual = self.residual(image)
        return built_in_latents(image) + residual, residual

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode like `respin_export.networks.vae.VaeEncoder`; the log-variance is the least: latents are exact."""
        mean = (self.raw(image)[0] - self.shift) * self.scale
        return mean, torch.full_like(mean, SMALLEST_LOG_VARIANCE)


class MiniVaeDecoder(nn.Module):
    """The network of the contract `vae_decoder`."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        vae = autoencoder(DECODER_WIDTHS)
        self.decoder, self.post_quant_conv = vae.decoder, vae.post_quant_conv
        nn.init.zeros_(self.decoder.conv_out.weight)
        nn.init.zeros_(self.decoder.conv_out.bias)
        self.register_buffer("shift", torch.zeros(4, 1, 1))
        self.register_buffer("scale", torch.ones(4, 1, 1))

    def raw(self, latents: Tensor) -> Tensor:
        """Decode latents that are not standardised: (B, 3, 8h, 8w)."""
        blocks = self.decoder(self.post_quant_conv(latents))
        detail = F.pixel_shuffle(blocks, BLOCK).float()
        levels = latents[:, :3].float() / _GAIN.to(latents)[:, None, None]
        levels = levels + torch.tensor([_LUMA_CENTRE, 0, 0]).to(levels)[:, None, None]
        flat = F.conv2d(levels, _RGB.to(latents)[:, :, None, None])
        return detail + F.interpolate(flat, scale_factor=float(STRIDE), mode="nearest")

    def forward(self, latents: Tensor) -> Tensor:
        """Decode like `respin_export.networks.vae.VaeDecoder.forward`."""
        return self.raw(latents / self.scale + self.shift)


def built_in_latents(image: Tensor) -> Tensor:
    """Return luma, red-green, yellow-blue and distance from white of 8 x 8 pixels, (B, 4, H/8, W/8)."""
    colour = F.conv2d(F.avg_pool2d(image, STRIDE), (_OPPONENT * _GAIN[:, None]).to(image)[:, :, None, None])
    colour = colour - torch.tensor([_LUMA_CENTRE * 2, 0, 0]).to(image)[:, None, None]
    darkest = image.amin(dim=1, keepdim=True)
    return torch.cat([colour, F.avg_pool2d((1 - darkest).clamp(max=1), STRIDE) * 2 - 1], dim=1)
