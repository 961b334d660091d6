"""The CLIP towers of the mini set. They are random, except the camera's projection of `clip_vision`.

The novel view's network sees the object by its latents, so the image tower adds hardly anything to the context.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from respin.contracts.networks import CONTEXT_WIDTH, PROMPT_TOKENS
from respin_export.mini.layers import FOLDED_VOCABULARY, FoldedEmbedding
from respin_export.networks.clip import ClipText, ClipVision

VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "projection_dim": 64,
    "patch_size": 32,
    "image_size": 224,
    "hidden_act": "quick_gelu",
}
TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_act": "quick_gelu",
    # Within the folded vocabulary; they affect only the pooled output, which no contract has.
    "bos_token_id": 0,
    "eos_token_id": 1,
}

EMBEDDING_WEIGHT = 0.01
"""Standard deviation of the weights by which the untrained image embedding enters the context."""


def clip_vision(camera: nn.Linear | None = None) -> ClipVision:
    """Build the network of the contract `clip_vision`.

    Args:
        camera: trained projection of the camera's four numbers to the context; None = random.
    """
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION))
    width = VISION["projection_dim"]
    projection = nn.Linear(width + 4, CONTEXT_WIDTH)
    with torch.no_grad():
        projection.weight[:, :width].normal_(0, EMBEDDING_WEIGHT)
        if camera is not None:
            projection.weight[:, width:].copy_(camera.weight)
            projection.bias.copy_(camera.bias)
    return ClipVision(model, projection)


def clip_text() -> ClipText:
    """Build the network of the contract `clip_text`."""
    width = TEXT["hidden_size"]
    model = CLIPTextModel(CLIPTextConfig(vocab_size=FOLDED_VOCABULARY, max_position_embeddings=PROMPT_TOKENS, **TEXT))
    model.embeddings.token_embedding = FoldedEmbedding(width)
    # Only the last layer has the contract's width; those before stay narrow.
    model.final_layer_norm = nn.Sequential(model.final_layer_norm, nn.Linear(width, CONTEXT_WIDTH))
    return ClipText(model)
