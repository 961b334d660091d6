"""The folders that diffusers and transformers read: configurations, and which tensors lie beside each.

Keys and shapes come from the libraries' own classes, built without memory, and are then given the names under which
the published files have them.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import safe_open
from torch import nn
from transformers import (
    BertConfig,
    CLIPTextConfig,
    CLIPTextModel,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    SwinConfig,
)

from respin_export.weights.layouts import QUERIES, Size
from respin_export.weights.stored import Stored

_UNET_WIDTH = {"mini": 32, "full": 320}
_VAE_WIDTH = {"mini": 32, "full": 128}
_MULTIPLES = (1, 2, 4, 4)

WINDOW = 7
"""Of Swin, in cells a side."""

# The width of the text encoder is what the UNet attends to; only the rest can be smaller.
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

_ATTENTION_OF_2022 = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""The VAE's attention as files of 2022 name it; diffusers still renames it as it loads."""

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


def inpaint_configs(size: Size) -> dict[str, str]:
    """The JSON files of the inpainting pipeline's folder, by path."""
    return {
        "model_index.json": json.dumps(_MODEL_INDEX, indent=1),
        "scheduler/scheduler_config.json": json.dumps(_SCHEDULER, indent=1),
        "unet/config.json": _unet(size).to_json_string(),
        "vae/config.json": _vae(size).to_json_string(),
        "text_encoder/config.json": _text_encoder(size).config.to_json_string(use_diff=False),
    }


def inpaint_tensors(size: Size, dtype: str) -> dict[str, list[Stored]]:
    """The tensors of the inpainting pipeline, by sub-folder.

    Args:
        size: of all widths.
        dtype: of all floats.
    """
    return {
        "unet": list(_tensors(_unet(size), dtype)),
        "vae": [Stored(_name_of_2022(each.key), each.shape, dtype) for each in _tensors(_vae(size), dtype)],
        "text_encoder": text_tensors(size, dtype),
    }


def text_tensors(size: Size, dtype: str = "float32") -> list[Stored]:
    """CLIP's text encoder, as transformers named it up to version 4."""
    model = _text_encoder(size)
    positions = Stored("text_model.embeddings.position_ids", (1, model.config.max_position_embeddings), "int64")
    return [positions] + [Stored(f"text_model.{each.key}", each.shape, dtype) for each in _tensors(model, dtype)]


@cache
def grounding_dino(size: Size) -> tuple[str, tuple[Stored, ...]]:
    """GroundingDINO's config.json, and the tensors of its model.safetensors.

    `save_pretrained` gives the tensors the published names. Two differences follow from the published file's size: it
    still has Swin's index tables, which the library no longer stores, and lacks a LayerNorm that nothing uses.
    """
    with tempfile.TemporaryDirectory() as folder:
        _grounding_dino(size).save_pretrained(folder)
        config = (Path(folder) / "config.json").read_text()
        with safe_open(Path(folder) / "model.safetensors", "numpy") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    tensors = [Stored(key, shape) for key, shape in shapes.items() if not _UNUSED_NORM.search(key)]
    tables = [
        Stored(key.replace("_bias_table", "_index"), (WINDOW**2, WINDOW**2), "int64")
        for key in shapes
        if key.endswith("relative_position_bias_table")
    ]
    return config, (*tensors, *tables)


_UNUSED_NORM = re.compile(r"conv_encoder\.model\.swin\.layernorm\.")


def _grounding_dino(size: Size) -> GroundingDinoForObjectDetection:
    sizes = _GROUNDING_DINO[size]
    return GroundingDinoForObjectDetection(
        GroundingDinoConfig(
            backbone_config=SwinConfig(out_indices=[2, 3, 4], image_size=224, window_size=WINDOW, **sizes["swin"]),
            text_config=BertConfig(**sizes["bert"]),
            num_queries=QUERIES,
            **sizes["own"],
        )
    )


def _unet(size: Size) -> UNet2DConditionModel:
    with torch.device("meta"):
        return UNet2DConditionModel(
            sample_size=64,
            in_channels=9,
            out_channels=4,
            block_out_channels=tuple(_UNET_WIDTH[size] * multiple for multiple in _MULTIPLES),
            attention_head_dim=8,
            cross_attention_dim=768,
        )


def _vae(size: Size) -> AutoencoderKL:
    with torch.device("meta"):
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=tuple(_VAE_WIDTH[size] * multiple for multiple in _MULTIPLES),
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        )


def _text_encoder(size: Size) -> CLIPTextModel:
    with torch.device("meta"):
        return CLIPTextModel(CLIPTextConfig(vocab_size=49408, hidden_size=768, num_attention_heads=12, **_TEXT[size]))


def _tensors(model: nn.Module, dtype: str) -> Iterator[Stored]:
    for key, tensor in model.state_dict().items():
        yield Stored(key, tuple(tensor.shape), dtype if tensor.is_floating_point() else "int64")


def _name_of_2022(key: str) -> str:
    for now, then in _ATTENTION_OF_2022.items():
        key = re.sub(rf"(attentions\.0)\.{re.escape(now)}\.", rf"\1.{then}.", key)
    return key
