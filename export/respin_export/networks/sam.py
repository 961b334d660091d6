"""Segment Anything: image encoder, and prompt encoder with mask decoder, around transformers' class."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SamConfig, SamModel
from transformers.models.sam.modeling_sam import SamVisionAttention, SamVisionLayer

UPSTREAM_TRANSFORMER_EPS = 1e-5
"""Epsilon of the two-way transformer's LayerNorms (facebookresearch/segment-anything, modeling/transformer.py)."""


def sam_model(config: SamConfig) -> SamModel:
    """Build SAM with the LayerNorm epsilons of the published code.

    The library's default, 1e-6, is right for the image encoder and LayerNorm2d only.

    Args:
        config: configuration; its mask decoder's `layer_norm_eps` is overwritten.
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


class PositionsInKeys(nn.Module):
    """SAM's global attention with the relative positions as further channels of queries and keys.

    The bias of a query and a key depends on the key's row and column. It becomes a dot product of the query's bias for
    each row and column with the key's one-hot row and column. For attention without a bias, TensorRT-RTX allocates
    neither bias nor scores: 4096 x 4096 for each of 16 heads, half a gigabyte in float16. It does so only if values
    have as many channels as keys, so they are padded.

    Args:
        attention: the library's attention.
    """

    def __init__(self, attention: SamVisionAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, hidden_states: Tensor, output_attentions: bool = False) -> tuple[Tensor, None]:
        """Map (B, H, W, C) float32 or float16 to the same shape; attention weights are not returned."""
        attention: Any = self.attention
        batch, height, width, _ = hidden_states.shape
        heads, cells = attention.num_attention_heads, height * width
        qkv = attention.qkv(hidden_states).reshape(batch, cells, 3, heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        grid = query.reshape(batch, heads, height, width, -1)
        by_row = torch.einsum("nbhwc,hkc->nbhwk", grid, attention.get_rel_pos(height, height, attention.rel_pos_h))
        by_column = torch.einsum("nbhwc,wkc->nbhwk", grid, attention.get_rel_pos(width, width, attention.rel_pos_w))
        query = torch.cat([query * attention.scale, by_row.flatten(2, 3), by_column.flatten(2, 3)], dim=3)
        key = torch.cat([key, _rows_and_columns(height, width, key).expand(batch, heads, -1, -1)], dim=3)
        channels = value.shape[3]
        padded = F.pad(value, (0, key.shape[3] - channels))
        attended = F.scaled_dot_product_attention(query, key, padded, scale=1.0)[..., :channels]
        # Cloned: the exporter assumes a wrong memory layout of the attention's result.
        joined = attended.transpose(1, 2).clone(memory_format=torch.contiguous_format)
        return attention.proj(joined.reshape(batch, height, width, -1)), None


def _rows_and_columns(height: int, width: int, like: Tensor) -> Tensor:
    """Return the one-hot row and column of each cell, (H x W, H + W)."""
    rows = torch.eye(height, dtype=like.dtype, device=like.device).repeat_interleave(width, dim=0)
    columns = torch.eye(width, dtype=like.dtype, device=like.device).repeat(height, 1)
    return torch.cat([rows, columns], dim=1)


def move_positions_into_keys(encoder: nn.Module) -> None:
    """Replace the global attention of SAM's image encoder by `PositionsInKeys`.

    Args:
        encoder: the image encoder; changed in place.
    """
    for layer in encoder.modules():
        whole = isinstance(layer, SamVisionLayer) and layer.window_size == 0
        if whole and not isinstance(layer.attn, PositionsInKeys):
            layer.attn = PositionsInKeys(cast(SamVisionAttention, layer.attn))


class SamDecoder(nn.Module):
    """The network of the contract `sam_decoder`: one embedding and one box a sample, all four masks.

    The library's own `forward` slices the masks to slot 0 or to slots 1..3, so its parts are called here.

    Args:
        model: transformers' model with its weights.
    """

    positions: Tensor

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        self.prompts = model.prompt_encoder
        self.decoder = model.mask_decoder
        # Constant for a given side, so it is computed here and not in the graph.
        self.register_buffer("positions", model.get_image_wide_positional_embeddings().detach(), persistent=False)

    def forward(self, embedding: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
        """Segment the object in a box.

        Args:
            embedding: (B, C, G, G) float32, of `SamEncoder`.
            box: (B, 4) float32, (x0, y0, x1, y1) px in the frame of the encoder's image.

        Returns:
            mask logits (B, 4, 4G, 4G), slot 0 the single answer, and predicted IoUs (B, 4).
        """
        tokens, features = self.attend(embedding, box)
        return self.masks(tokens, self.upscale(features)), self.predicted_iou(tokens)

    def attend(self, embedding: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
        """Run the two-way transformer.

        Args:
            embedding: (B, C, G, G) float32.
            box: (B, 4) float32, px in the frame of the encoder's image.

        Returns:
            output tokens (B, 5, C), that of the predicted IoU first and then those of the masks, and features of the
            image (B, C, G, G).
        """
        # The prompt encoder adds half a pixel and divides by the side.
        sparse, dense = self.prompts(None, None, box[:, None], None)
        output_tokens = torch.cat([self.decoder.iou_token.weight, self.decoder.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(box.shape[0], 1, -1, -1), sparse], dim=2)
        positions = self.positions.expand(box.shape[0], -1, -1, -1)
        tokens, features = self.decoder.transformer(tokens, embedding + dense, positions, None)
        return tokens[:, 0, : len(output_tokens)], features.transpose(2, 3).reshape(embedding.shape)

    def upscale(self, features: Tensor, details: Tensor | None = None) -> Tensor:
        """Upscale features of the image four times, (B, C, G, G) to (B, C/8, 4G, 4G).

        Args:
            features: features of the image, from `attend`.
            details: (B, C/8, 4G, 4G), added before the last activation; None adds nothing.
        """
        decoder = self.decoder
        features = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(features)))
        features = decoder.upscale_conv2(features)
        upscaled: Tensor = decoder.activation(features if details is None else features + details)
        return upscaled

    def masks(self, tokens: Tensor, upscaled: Tensor) -> Tensor:
        """Compute mask logits, (B, 4, 4G, 4G): each mask token's dot product with every upscaled feature."""
        heads = self.decoder.output_hypernetworks_mlps
        weights = torch.stack([head(tokens[:, 1 + slot]) for slot, head in enumerate(heads)], dim=1)
        masks: Tensor = torch.einsum("bmc,bchw->bmhw", weights, upscaled)
        return masks

    def predicted_iou(self, tokens: Tensor) -> Tensor:
        """Predict the IoU of each mask, (B, 4)."""
        predicted: Tensor = self.decoder.iou_prediction_head(tokens[:, 0])
        return predicted
