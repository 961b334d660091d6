"""The folders that diffusers and transformers read: configurations, and the tensors beside each.

Names and shapes come from the libraries' own classes, built on the meta device, and are then given the names that the
published files have.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import (
    BertConfig,
    CLIPTextConfig,
    CLIPTextModel,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    SwinConfig,
)
from transformers.core_model_loading import revert_weight_conversion

from respin_export.checkpoints import keys
from respin_export.weights.layouts import QUERIES, Layout, LayoutSize

_UNET_WIDTH = {"mini": 32, "full": 320}
_VAE_WIDTH = {"mini": 32, "full": 128}
_MULTIPLES = (1, 2, 4, 4)

WINDOW = 7
"""Side of Swin's windows, cells."""

# The UNet's context has the width of the text encoder; only the rest can be smaller.
_TEXT: dict[str, dict[str, int]] = {
    "mini": {"num_hidden_layers": 2, "intermediate_size": 256},
    "full": {"num_hidden_layers": 12, "intermediate_size": 3072},
}

_GROUNDING_DINO: dict[str, dict[str, Any]] = {
    "mini": {
        "swin": {"embed_dim": 32, "depths": [2, 2, 2, 2], "num_heads": [2, 4, 8, 16]},
        "bert": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128},
        "own": {"encoder_layers": 2, "decoder_layers": 3, "encoder_ffn_dim": 256, "decoder_ffn_dim": 256},
    },
    "full": {
        "swin": {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]},
        "bert": {},
        "own": {"encoder_layers": 6, "decoder_layers": 6, "encoder_ffn_dim": 2048, "decoder_ffn_dim": 2048},
    },
}

_SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
}

_MODEL_INDEX = {
    "_class_name": "StableDiffusionInpaintPipeline",
    "feature_extractor": [None, None],
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": [None, None],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def inpaint_configs(size: LayoutSize) -> dict[str, str]:
    """Return the JSON files of the inpainting pipeline's folder, by path."""
    return {
        "model_index.json": json.dumps(_MODEL_INDEX, indent=1),
        "scheduler/scheduler_config.json": json.dumps(_SCHEDULER, indent=1),
        "unet/config.json": _unet(size).to_json_string(),
        "vae/config.json": _vae(size).to_json_string(),
        "text_encoder/config.json": _text_encoder(size).config.to_json_string(use_diff=False),
    }


def inpaint_tensors(size: LayoutSize, dtype: torch.dtype) -> dict[str, Layout]:
    """Return the tensors of the inpainting pipeline, by sub-folder.

    Args:
        size: size of the network.
        dtype: type of the floats.
    """
    return {
        "unet": _layout(_unet(size), dtype),
        "vae": {_name_of_2022(key): tensor for key, tensor in _layout(_vae(size), dtype).items()},
        "text_encoder": text_tensors(size, dtype),
    }


def text_tensors(size: LayoutSize, dtype: torch.dtype = torch.float32) -> Layout:
    """Return the tensors of CLIP's text encoder, as transformers named them up to version 4."""
    model = _text_encoder(size)
    positions = torch.empty((1, model.config.max_position_embeddings), dtype=torch.int64, device="meta")
    tensors = {f"text_model.{key}": tensor for key, tensor in _layout(model, dtype).items()}
    return {"text_model.embeddings.position_ids": positions} | tensors


@cache
def grounding_dino(size: LayoutSize) -> tuple[str, Layout]:
    """Return GroundingDINO's config.json, and the tensors of its model.safetensors.

    Two differences from the library's names of today follow from the published file's size: it still has Swin's index
    tables, which the library no longer stores, and lacks a LayerNorm that nothing uses.
    """
    with torch.device("meta"):
        model = _grounding_dino(size)
    tied = model.all_tied_weights_keys
    published = revert_weight_conversion(model, {k: v for k, v in model.state_dict().items() if k not in tied})
    tensors = {key: tensor for key, tensor in published.items() if not _UNUSED_NORM.search(key)}
    for key in published:
        if key.endswith("relative_position_bias_table"):
            table = torch.empty((WINDOW**2, WINDOW**2), dtype=torch.int64, device="meta")
            tensors[key.replace("_bias_table", "_index")] = table
    return model.config.to_json_string(), tensors


_UNUSED_NORM = re.compile(r"conv_encoder\.model\.swin\.layernorm\.")


def _grounding_dino(size: LayoutSize) -> GroundingDinoForObjectDetection:
    sizes = _GROUNDING_DINO[size]
    return GroundingDinoForObjectDetection(
        GroundingDinoConfig(
            backbone_config=SwinConfig(out_indices=[2, 3, 4], image_size=224, window_size=WINDOW, **sizes["swin"]),
            text_config=BertConfig(**sizes["bert"]),
            num_queries=QUERIES,
            **sizes["own"],
        )
    )


def _unet(size: LayoutSize) -> UNet2DConditionModel:
    with torch.device("meta"):
        return UNet2DConditionModel(
            sample_size=64,
            in_channels=9,
            out_channels=4,
            block_out_channels=tuple(_UNET_WIDTH[size] * multiple for multiple in _MULTIPLES),
            attention_head_dim=8,
            cross_attention_dim=768,
        )


def _vae(size: LayoutSize) -> AutoencoderKL:
    with torch.device("meta"):
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=tuple(_VAE_WIDTH[size] * multiple for multiple in _MULTIPLES),
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        )


def _text_encoder(size: LayoutSize) -> CLIPTextModel:
    with torch.device("meta"):
        return CLIPTextModel(CLIPTextConfig(vocab_size=49408, hidden_size=768, num_attention_heads=12, **_TEXT[size]))


def _layout(model: nn.Module, dtype: torch.dtype) -> Layout:
    return {
        key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in model.state_dict().items()
    }


def _name_of_2022(key: str) -> str:
    for then, now in keys.ATTENTION_OF_2022.items():
        key = key.replace(f"attentions.0.{now}.", f"attentions.0.{then}.")
    return key
