"""Segment Anything: image encoder, and prompt encoder with mask decoder, round transformers' class."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import SamConfig, SamModel

UPSTREAM_TRANSFORMER_EPS = 1e-5
"""Of the two-way transformer's LayerNorms (facebookresearch/segment-anything, modeling/transformer.py)."""


def sam_model(config: SamConfig) -> SamModel:
    """Build SAM with the LayerNorm epsilons of the published code.

    The library gives the two-way transformer the 1e-6 that belongs to the image encoder and to LayerNorm2d alone.

    Args:
        config: sizes; its mask decoder's `layer_norm_eps` is overwritten.
    """
    config.mask_decoder_config.layer_norm_eps = UPSTREAM_TRANSFORMER_EPS
    return SamModel(config)


class SamEncoder(nn.Module):
    """The network of the contract `sam_encoder`."""

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        self.encoder = model.vision_encoder

    def forward(self, image: Tensor) -> Tensor:
        """Embed images.

        Args:
            image: (B, 3, S, S) float32, normalised by SAM's mean and std, zero-padded below right.

        Returns:
            (B, C, S/16, S/16) float32.
        """
        embedding: Tensor = self.encoder(image).last_hidden_state
        return embedding


class SamDecoder(nn.Module):
    """The network of the contract `sam_decoder`: one embedding and one box a sample, all four masks.

    The library's own `forward` slices the masks to slot 0 or to slots 1..3, so its parts are called here.

    Args:
        model: with its weights already in it.
    """

    positions: Tensor

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        self.prompts = model.prompt_encoder
        self.decoder = model.mask_decoder
        # Constant for a given side: kept out of the graph's arithmetic.
        self.register_buffer("positions", model.get_image_wide_positional_embeddings().detach(), persistent=False)

    def forward(self, embedding: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
        """Segment what a box holds.

        Args:
            embedding: (B, C, G, G) float32, of `SamEncoder`.
            box: (B, 4) float32, (x0, y0, x1, y1) px in the frame of the encoder's image.

        Returns:
            mask logits (B, 4, 4G, 4G), slot 0 the single answer, and predicted IoUs (B, 4).
        """
        # Half a pixel and the division by the side are the prompt encoder's own.
        sparse, dense = self.prompts(None, None, box[:, None], None)
        output_tokens = torch.cat([self.decoder.iou_token.weight, self.decoder.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(box.shape[0], 1, -1, -1), sparse], dim=2)
        positions = self.positions.expand(box.shape[0], -1, -1, -1)
        tokens, features = self.decoder.transformer(tokens, embedding + dense, positions, None)
        features = features.transpose(2, 3).reshape(embedding.shape)
        return self._masks(tokens[:, 0, 1:], features), self.decoder.iou_prediction_head(tokens[:, 0, 0])

    def _masks(self, mask_tokens: Tensor, features: Tensor) -> Tensor:
        """Each mask token's dot product with every upscaled feature: (B, 4, 4G, 4G)."""
        decoder = self.decoder
        features = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(features)))
        features = decoder.activation(decoder.upscale_conv2(features))
        heads = decoder.output_hypernetworks_mlps
        weights = torch.stack([head(mask_tokens[:, slot]) for slot, head in enumerate(heads)], dim=1)
        masks: Tensor = torch.einsum("bmc,bchw->bmhw", weights, features)
        return masks
