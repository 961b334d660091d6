"""How each mini network is built: its constructor arguments, and the module round it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import (
    BertConfig,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    SamConfig,
    SamModel,
    SwinConfig,
)

from respin.contracts.networks import CONTEXT_WIDTH, PROMPT_TOKENS
from respin.model_set import Sizes
from respin_export.mini.fill import fill_grounding_dino, fill_sam
from respin_export.mini.layers import FOLDED_VOCABULARY, FoldedEmbedding, NarrowedDecoder
from respin_export.networks.clip import ClipText, ClipVision
from respin_export.networks.edsr import Edsr
from respin_export.networks.grounding_dino import GroundingDino
from respin_export.networks.sam import SamDecoder, SamEncoder, sam_model
from respin_export.networks.unet import InpaintUNet, Zero123UNet
from respin_export.networks.vae import VaeDecoder, VaeEncoder

SEED = 413
"""Of all weights. Chosen so that SAM's single mask is neither empty nor everything: see the tests."""

SIZES = Sizes(
    sam_side=256,
    view_side=256,
    inpaint_side=256,
    detection_short_side=400,
    detection_long_side=667,
    object_share=0.75,
)

SWIN: dict[str, Any] = {
    "embed_dim": 16,
    "depths": [1, 1, 2, 1],
    "num_heads": [1, 2, 4, 8],
    "mlp_ratio": 1.0,
    "out_features": ["stage2", "stage3", "stage4"],
}
BERT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
GROUNDING_DINO: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "disable_custom_kernels": True,
}
SAM_WIDTH = 32
SAM_VISION: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "mlp_dim": 128,
    "window_size": 7,
    "global_attn_indexes": [1],
}
SAM_DECODER: dict[str, Any] = {"num_attention_heads": 4, "mlp_dim": 64, "iou_head_hidden_dim": 32}
CLIP_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "projection_dim": 64,
    "patch_size": 32,
    "image_size": 224,
    "hidden_act": "quick_gelu",
}
CLIP_TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_act": "quick_gelu",
    # Within the folded vocabulary; they only steer the pooled output, which no contract has.
    "bos_token_id": 0,
    "eos_token_id": 1,
}
UNET: dict[str, Any] = {
    "sample_size": 32,
    "out_channels": 4,
    "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    "block_out_channels": (16, 16, 16),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 2,
    "cross_attention_dim": CONTEXT_WIDTH,
}
VAE: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (8, 16, 16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "latent_channels": 4,
}
EDSR: dict[str, Any] = {"blocks": 2, "features": 8, "residual_scale": 1.0}


def build(name: str, *, seed: int = SEED) -> nn.Module:
    """Make one network with random weights; the same seed makes the same weights.

    Args:
        name: of the contract.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BUILDERS[name]().eval()


def _grounding_dino() -> nn.Module:
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(**SWIN),
        text_config=BertConfig(vocab_size=FOLDED_VOCABULARY, **BERT),
        **GROUNDING_DINO,
    )
    model = GroundingDinoForObjectDetection(config)
    model.model.text_backbone.embeddings.word_embeddings = FoldedEmbedding(BERT["hidden_size"])
    fill_grounding_dino(model)
    return GroundingDino(model)


def _sam() -> SamModel:
    side, width = SIZES.sam_side, SAM_WIDTH
    config = SamConfig(
        vision_config={**SAM_VISION, "image_size": side, "output_channels": width, "num_pos_feats": width // 2},
        prompt_encoder_config={"hidden_size": width, "image_size": side, "image_embedding_size": side // 16},
        mask_decoder_config={"hidden_size": width, **SAM_DECODER},
    )
    model = sam_model(config)
    fill_sam(model)
    return model


def _sam_encoder() -> nn.Module:
    model = _sam()
    model.vision_encoder.neck = nn.Sequential(model.vision_encoder.neck, nn.Conv2d(SAM_WIDTH, 256, kernel_size=1))
    return SamEncoder(model)


def _sam_decoder() -> nn.Module:
    return NarrowedDecoder(SamDecoder(_sam()), embedding_channels=256, width=SAM_WIDTH)


def _clip_vision() -> nn.Module:
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP_VISION))
    return ClipVision(model, nn.Linear(CLIP_VISION["projection_dim"] + 4, CONTEXT_WIDTH))


def _clip_text() -> nn.Module:
    width = CLIP_TEXT["hidden_size"]
    config = CLIPTextConfig(vocab_size=FOLDED_VOCABULARY, max_position_embeddings=PROMPT_TOKENS, **CLIP_TEXT)
    model = CLIPTextModel(config)
    model.embeddings.token_embedding = FoldedEmbedding(width)
    # The contract's width at the very end, so that everything before it stays narrow.
    model.final_layer_norm = nn.Sequential(model.final_layer_norm, nn.Linear(width, CONTEXT_WIDTH))
    return ClipText(model)


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "grounding_dino": _grounding_dino,
    "sam_encoder": _sam_encoder,
    "sam_decoder": _sam_decoder,
    "clip_vision": _clip_vision,
    "zero123_unet": lambda: Zero123UNet(UNet2DConditionModel(in_channels=8, **UNET)),
    "vae_encoder": lambda: VaeEncoder(AutoencoderKL(**VAE)),
    "vae_decoder": lambda: VaeDecoder(AutoencoderKL(**VAE)),
    "edsr": lambda: Edsr(**EDSR),
    "clip_text": _clip_text,
    "inpaint_unet": lambda: InpaintUNet(UNet2DConditionModel(in_channels=9, **UNET)),
}
"""How to make each network, by name."""
