"""Segment Anything from facebookresearch/segment-anything's .pth: a bare dictionary of 482 tensors for ViT-L."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import SamConfig, SamModel

from respin_export.checkpoints import keys
from respin_export.checkpoints.checkpoint import Checkpoint, fill_pretrained
from respin_export.networks.sam import UPSTREAM_TRANSFORMER_EPS, SamDecoder, SamEncoder

EXPECTED = "a SAM checkpoint (sam_vit_l_0b3195.pth)"

DECODER_HEADS = {256: 8}
"""Attention heads of the decoder by its width, of the published sizes (segment_anything/build_sam.py)."""


def load(network: str, path: Path, *, raw_weights: bool = False) -> nn.Module:
    """Fill `sam_encoder` or `sam_decoder`.

    Args:
        network: name of the network.
        path: path of the .pth; a decoder of another width than 256 needs a `config.json` beside it with `dec_heads`.
        raw_weights: ignored.

    Raises:
        InvalidInput: the file is not this checkpoint.
    """
    checkpoint = Checkpoint.read(path, EXPECTED)
    config = SamConfig(
        vision_config=_vision(checkpoint),
        prompt_encoder_config=_prompts(checkpoint),
        mask_decoder_config=_masks(checkpoint),
    )
    model = fill_pretrained(SamModel, config, keys.rename_tensors(checkpoint.tensors, keys.SAM), checkpoint)
    return SamEncoder(model) if network == "sam_encoder" else SamDecoder(model)


def _vision(checkpoint: Checkpoint) -> dict[str, Any]:
    _, grid, _, width = checkpoint.shape("image_encoder.pos_embed", axes=4)
    patch = checkpoint.shape("image_encoder.patch_embed.proj.weight", axes=4)[2]
    layers = checkpoint.count("image_encoder.blocks.")
    # (2 * side - 1, head): the side is that of the grid where attention is global, else that of a window.
    positions = [checkpoint.shape(f"image_encoder.blocks.{layer}.attn.rel_pos_h") for layer in range(layers)]
    sides = [(length + 1) // 2 for length, _ in positions]
    return {
        "hidden_size": width,
        "output_channels": checkpoint.shape("image_encoder.neck.0.weight", axes=4)[0],
        "num_hidden_layers": layers,
        "num_attention_heads": width // positions[0][1],
        "image_size": grid * patch,
        "patch_size": patch,
        "mlp_dim": checkpoint.shape("image_encoder.blocks.0.mlp.lin1.weight")[0],
        "window_size": min(sides),
        "global_attn_indexes": [layer for layer, side in enumerate(sides) if side == grid],
        "num_pos_feats": checkpoint.shape("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix")[1],
    }


def _prompts(checkpoint: Checkpoint) -> dict[str, Any]:
    grid = checkpoint.shape("image_encoder.pos_embed", axes=4)[1]
    return {
        "hidden_size": checkpoint.shape("prompt_encoder.no_mask_embed.weight")[1],
        "image_size": grid * checkpoint.shape("image_encoder.patch_embed.proj.weight", axes=4)[2],
        "image_embedding_size": grid,
        "mask_input_channels": checkpoint.shape("prompt_encoder.mask_downscaling.3.weight", axes=4)[0],
    }


def _masks(checkpoint: Checkpoint) -> dict[str, Any]:
    tokens, width = checkpoint.shape("mask_decoder.mask_tokens.weight")
    narrow = checkpoint.shape("mask_decoder.transformer.final_attn_token_to_image.q_proj.weight")[0]
    return {
        "hidden_size": width,
        "num_hidden_layers": checkpoint.count("mask_decoder.transformer.layers."),
        "num_attention_heads": checkpoint.config_value("dec_heads", DECODER_HEADS.get(width)),
        "mlp_dim": checkpoint.shape("mask_decoder.transformer.layers.0.mlp.lin1.weight")[0],
        "attention_downsample_rate": width // narrow,
        "num_multimask_outputs": tokens - 1,
        "iou_head_depth": checkpoint.count("mask_decoder.iou_prediction_head.layers."),
        "iou_head_hidden_dim": checkpoint.shape("mask_decoder.iou_prediction_head.layers.0.weight")[0],
        "layer_norm_eps": UPSTREAM_TRANSFORMER_EPS,
    }
