"""The published architectures at a thousandth of their size, with random weights, for tests of the export.

The mini set's networks have other architectures (`respin_export.mini`). Tests of steps that depend on the published
ones, for example on the layers that stay in float32, use these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

from respin.contracts.networks import CONTEXT_WIDTH
from respin_export.mini.fill import fill_grounding_dino
from respin_export.mini.layers import FOLDED_VOCABULARY, FoldedEmbedding
from respin_export.mini.networks import BUILDERS, SEED, build_seeded
from respin_export.networks.grounding_dino import GroundingDino
from respin_export.networks.unet import InpaintUNet, Zero123UNet
from respin_export.networks.vae import VaeDecoder, VaeEncoder

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
TRANSFORMER: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "disable_custom_kernels": True,
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


def build(name: str, *, seed: int = SEED) -> nn.Module:
    """Build a network with random weights; the same seed gives the same weights.

    Args:
        name: name of the contract; networks with the published architecture in the mini set are the mini set's.
        seed: seed of the weights.
    """
    return build_seeded(_PUBLISHED.get(name) or BUILDERS[name], seed).eval()


def _grounding_dino() -> nn.Module:
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(**SWIN),
        text_config=BertConfig(vocab_size=FOLDED_VOCABULARY, **BERT),
        **TRANSFORMER,
    )
    model = GroundingDinoForObjectDetection(config)
    model.model.text_backbone.embeddings.word_embeddings = FoldedEmbedding(BERT["hidden_size"])
    fill_grounding_dino(model)
    return GroundingDino(model)


_PUBLISHED: dict[str, Callable[[], nn.Module]] = {
    "grounding_dino": _grounding_dino,
    "zero123_unet": lambda: Zero123UNet(UNet2DConditionModel(in_channels=8, **UNET)),
    "vae_encoder": lambda: VaeEncoder(AutoencoderKL(**VAE)),
    "vae_decoder": lambda: VaeDecoder(AutoencoderKL(**VAE)),
    "inpaint_unet": lambda: InpaintUNet(UNet2DConditionModel(in_channels=9, **UNET)),
}
