"""The mini set's SAM: the library's classes at a hundredth of the size, with fine features on the way to the masks.

Differences from the published one, all inside the graphs:

* Patches are embedded by three overlapping convolutions instead of a single one of 16 x 16 pixels, which learns edges
  from far fewer pictures (Xiao et al. 2021, arXiv:2106.14881).
* Half of the embedding's channels are fine features, 4 x 4 positions of a cell as channels (space to depth). The
  decoder adds them to its upscaled features, as SAM 2 does with those of its encoder (arXiv:2408.00714), so an edge
  need not pass through a transformer at stride 16.
* The decoder is narrower than the embedding, and a sigmoid keeps the predicted IoU in 0..1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SamConfig, SamModel
from transformers.models.sam.modeling_sam import SamLayerNorm

from respin_export.mini.fill import fill_sam
from respin_export.mini.sizes import SIZES
from respin_export.networks.sam import SamDecoder, SamEncoder, sam_model

COARSE_CHANNELS = 128
"""Channels of the embedding that come from the vision transformer; the other 128 of the contract's are fine ones."""

WIDTH = 64
"""Channels of the decoder's transformer."""

UPSCALED_CHANNELS = WIDTH // 8
"""Channels of the upscaled features, which the library fixes."""

UPSCALING = 4
"""Mask cells per cell of the embedding, along each axis."""

VISION: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "mlp_dim": 384,
    "window_size": 8,
    "global_attn_indexes": [0, 2],
}
DECODER: dict[str, Any] = {"num_attention_heads": 4, "mlp_dim": 128, "iou_head_hidden_dim": 64}
STEM_CHANNELS = (48, 96)
FINE_CHANNELS = 32

FREQUENCY_SEED = 1
"""Seed of the random frequencies that encode positions: constants, so that every build has the same."""


class MiniSamEncoder(nn.Module):
    """The network of the contract `sam_encoder`."""

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        self.coarse = SamEncoder(model)
        self.fine = nn.Sequential(
            *_reducing(3, FINE_CHANNELS, 4),
            nn.Conv2d(FINE_CHANNELS, FINE_CHANNELS, kernel_size=3, padding=1),
            nn.GELU(),
            nn.Conv2d(FINE_CHANNELS, UPSCALED_CHANNELS, kernel_size=3, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Embed images like `respin_export.networks.sam.SamEncoder.forward`."""
        return torch.cat([self.coarse(image), F.pixel_unshuffle(self.fine(image), UPSCALING)], dim=1)


class MiniSamDecoder(nn.Module):
    """The network of the contract `sam_decoder`."""

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(COARSE_CHANNELS, WIDTH, kernel_size=1)
        self.decoder = SamDecoder(model)
        self.refine = nn.Sequential(
            nn.Conv2d(UPSCALED_CHANNELS, 2 * UPSCALED_CHANNELS, kernel_size=3, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * UPSCALED_CHANNELS, UPSCALED_CHANNELS, kernel_size=3, padding=1),
        )

    def forward(self, embedding: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
        """Segment like `respin_export.networks.sam.SamDecoder.forward`."""
        coarse, fine = embedding[:, :COARSE_CHANNELS], embedding[:, COARSE_CHANNELS:]
        tokens, features = self.decoder.attend(self.narrow(coarse), box)
        upscaled = self.decoder.upscale(features, F.pixel_shuffle(fine, UPSCALING))
        upscaled = upscaled + self.refine(upscaled)
        return self.decoder.masks(tokens, upscaled), self.decoder.predicted_iou(tokens)


class MiniSam(nn.Module):
    """Encoder and decoder of one SAM with initial weights, which are trained together."""

    def __init__(self) -> None:
        super().__init__()
        model = _model()
        self.encoder, self.decoder = MiniSamEncoder(model), MiniSamDecoder(model)

    def forward(self, image: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
        """Segment: (B, 3, S, S) and (B, 4) px to mask logits (B, 4, S/4, S/4) and predicted IoUs (B, 4)."""
        masks, predicted_iou = self.decoder(self.encoder(image), box)
        return masks, predicted_iou


def _model() -> SamModel:
    side = SIZES.sam_side
    config = SamConfig(
        vision_config={**VISION, "image_size": side, "output_channels": COARSE_CHANNELS, "num_pos_feats": WIDTH // 2},
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": side, "image_embedding_size": side // 16},
        mask_decoder_config={"hidden_size": WIDTH, **DECODER},
        # PyTorch's fused attention has no fast path for a bias on a CPU.
        attn_implementation={"vision_config": "eager"},
    )
    model = sam_model(config)
    first, second = STEM_CHANNELS
    model.vision_encoder.patch_embed.projection = nn.Sequential(
        *_reducing(3, first, 4),
        *_reducing(first, second, 2),
        nn.Conv2d(second, VISION["hidden_size"], kernel_size=3, stride=2, padding=1),
    )
    fill_sam(model)
    generator = torch.Generator()
    for embedding in (model.shared_image_embedding, model.prompt_encoder.shared_embedding):
        frequencies = embedding.positional_embedding.requires_grad_(False)
        frequencies.normal_(generator=generator.manual_seed(FREQUENCY_SEED))
    model.mask_decoder.iou_prediction_head.sigmoid_output = True
    return model


def _reducing(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    """A convolution whose kernel overlaps its neighbours by half, normalised and activated."""
    return (
        nn.Conv2d(inputs, outputs, kernel_size=2 * stride - 1, stride=stride, padding=stride - 1),
        SamLayerNorm(outputs, data_format="channels_first"),
        nn.GELU(),
    )
