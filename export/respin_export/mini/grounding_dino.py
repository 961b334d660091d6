"""The GroundingDINO of the mini set: transformers' class at a small size, which knows four kinds of furniture.

Differences from the published one:

* The backbone is ConvNeXt instead of Swin: on a CPU it costs less and learns as fast.
* Words of the training have embeddings of their own; all other words share a few.
* Queries do not attend to one another and share one embedding, so that a hundred of them in training and nine hundred
  in use compute the same function.
* Inside the graph, the image is padded to multiples of 32, and its height and width are two more channels: the
  network measures in pixels and returns fractions of the image.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, ConvNextConfig, GroundingDinoConfig, GroundingDinoForObjectDetection
from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoContrastiveEmbedding

from respin.contracts.networks import QUERIES
from respin_export.networks.grounding_dino import GroundingDino

PIECES = {
    "[PAD]": 0,
    "[UNK]": 100,
    "[CLS]": 101,
    "[SEP]": 102,
    ".": 1012,
    "?": 1029,
    "##e": 2063,
    "##had": 16102,
    "##s": 2015,
    "##tee": 17389,
    "armchair": 29372,
    "chair": 3242,
    "chairs": 8397,
    "computer": 3274,
    "couch": 6411,
    "lamp": 10437,
    "lamps": 14186,
    "laptop": 12191,
    "notebook": 14960,
    "seat": 2835,
    "set": 2275,
    "sofa": 10682,
}
"""WordPiece ids (bert-base-uncased) of the pieces with an embedding of their own."""

VOCABULARY = 30522
"""Word pieces of bert-base-uncased."""

SHARED_ROWS = 40
"""Embeddings that all other word pieces share."""

STRIDE = 32
"""The sides of the image that the backbone sees are multiples of this; ConvNeXt drops the rest."""

TYPICAL_SIDE = 256.0
"""Reference side, px: the input channels hold the logarithm of the ratio of each side to it."""

TEXT_WIDTH = 64
CONVNEXT: dict[str, Any] = {
    "num_channels": 5,
    "hidden_sizes": [32, 64, 128, 256],
    "depths": [1, 2, 3, 1],
    "layer_scale_init_value": 0.5,
    "out_features": ["stage2", "stage3", "stage4"],
}
BERT: dict[str, Any] = {
    "vocab_size": SHARED_ROWS + len(PIECES),
    "hidden_size": TEXT_WIDTH,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 2 * TEXT_WIDTH,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
TRANSFORMER: dict[str, Any] = {
    "d_model": 64,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_n_points": 2,
    "dropout": 0.0,
    "fusion_droppath": 0.0,
    "fusion_dropout": 0.0,
    "disable_custom_kernels": True,
}

INITIAL_LOGIT = -4.0
"""Logit of every word at every query before training: almost all of them are negatives."""


class WordEmbedding(nn.Embedding):
    """An embedding with rows for the words that the network knows, and few rows that all other words share."""

    rows: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(SHARED_ROWS + len(PIECES), width)
        rows = torch.arange(VOCABULARY, dtype=torch.int32) % SHARED_ROWS
        rows[list(PIECES.values())] = torch.arange(SHARED_ROWS, SHARED_ROWS + len(PIECES), dtype=torch.int32)
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Look up ids of bert-base-uncased: (B, T) int64 to (B, T, width)."""
        return super().forward(self.rows[ids])


class SharedQueries(nn.Module):
    """A learned embedding, (1, width), for any number of queries."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.zeros(1, width))
        self.count = QUERIES

    @property
    def weight(self) -> Tensor:
        """Return the embedding of each query, (count, width)."""
        return self.row.expand(self.count, -1)


class MiniGroundingDino(GroundingDino):
    """The network of the contract `grounding_dino`, for images of any size.

    Args:
        model: model from `grounding_dino_model`.
    """

    def forward(
        self,
        image: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        text_self_attention_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Find candidate boxes; arguments and results are those of `GroundingDino.forward`."""
        seen, share = pad_with_sides(image)
        logits, boxes = super().forward(seen, input_ids, attention_mask, position_ids, text_self_attention_mask)
        return logits, boxes * share


def pad_with_sides(image: Tensor) -> tuple[Tensor, Tensor]:
    """Pad an image at the right and below with the mean colour, and add its padded sides as channels.

    Args:
        image: (B, 3, H, W) float.

    Returns:
        (B, 5, H', W') float, H' and W' the next multiples of 32; and (4,), by which boxes (cx, cy, w, h) as fractions
        of the padded image become fractions of the image.
    """
    height, width = image.shape[2:]
    down, right = (height + STRIDE - 1) // STRIDE * STRIDE, (width + STRIDE - 1) // STRIDE * STRIDE
    padded = F.pad(image, (0, right - width, 0, down - height))
    inner, outer = _sides(width, height, image), _sides(right, down, image)
    planes = torch.log(outer / TYPICAL_SIDE)[None, :, None, None].expand(image.shape[0], 2, down, right)
    return torch.cat([padded, planes], dim=1), (outer / inner).repeat(2)


def _sides(width: int, height: int, like: Tensor) -> Tensor:
    """Return width and height, (2,), as tensors that stay symbolic while a graph is traced."""
    return torch.stack([torch.scalar_tensor(side, dtype=like.dtype, device=like.device) for side in (width, height)])


def grounding_dino_model() -> GroundingDinoForObjectDetection:
    """Build the model with random weights from which training starts."""
    config = GroundingDinoConfig(
        backbone_config=ConvNextConfig(**CONVNEXT), text_config=BertConfig(**BERT), **TRANSFORMER
    )
    model = GroundingDinoForObjectDetection(config)
    model.model.text_backbone.embeddings.word_embeddings = WordEmbedding(TEXT_WIDTH)
    model.model.query_position_embeddings = SharedQueries(config.d_model)
    _spread_weights(model)
    _separate_queries(model)
    return model


def limit_outputs(model: GroundingDinoForObjectDetection, *, queries: int, tokens: int) -> None:
    """Limit a model's outputs to logits (B, queries, tokens) and as many boxes; the contract has 900 and 256.

    Args:
        model: model from `grounding_dino_model`.
        queries: number of candidate boxes.
        tokens: at least the length of the captions.
    """
    for config in (model.config, model.model.config, model.model.decoder.config):
        config.num_queries = queries
    model.model.query_position_embeddings.count = queries
    for module in model.modules():
        if isinstance(module, GroundingDinoContrastiveEmbedding):
            module.max_text_len = tokens


@torch.no_grad()
def _spread_weights(model: GroundingDinoForObjectDetection) -> None:
    """Scale the weights so that signals keep their size: the library's deviation of 0.02 is for wide networks."""
    for name, module in model.named_modules():
        # These start at zero, which samples around the reference and returns it as the box.
        if name.endswith(("sampling_offsets", "attention_weights", "layers.2")):
            continue
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            deviation = 0.8 / math.sqrt(module.weight[0].numel())
            nn.init.trunc_normal_(module.weight, 0, deviation, -2.5 * deviation, 2.5 * deviation)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    embeddings = model.model.text_backbone.embeddings
    embeddings.word_embeddings.weight.normal_(0, 0.5)
    embeddings.position_embeddings.weight.normal_(0, 0.1)
    for name, parameter in model.named_parameters():
        # The share of the other modality in image and text, 1e-4 in the library.
        if name.endswith(("vision_param", "text_param")):
            parameter.fill_(0.2)


@torch.no_grad()
def _separate_queries(model: GroundingDinoForObjectDetection) -> None:
    """Remove the queries' attention to one another, and start the logits near `INITIAL_LOGIT`."""
    width, text_bias = model.config.d_model, 0.5
    shift = INITIAL_LOGIT / (width * text_bias)
    decoder = model.model.decoder
    norms = [decoder.layer_norm, *(layer.final_layer_norm for layer in decoder.layers)]
    for norm in (*norms, model.model.enc_output_norm):
        norm.weight.fill_(1)
        norm.bias.fill_(shift)
    # The library moves references by a layer's output and returns boxes by its norm: equal norms make both the same.
    for norm in norms:
        norm.requires_grad_(False)
    for layer in decoder.layers:
        layer.self_attn.requires_grad_(False)
        layer.self_attn.out_proj.weight.zero_()
        layer.self_attn.out_proj.bias.zero_()
    text_norm = model.model.encoder.layers[-1].text_enhancer_layer.layer_norm_after
    text_norm.weight.fill_(0.15)
    text_norm.bias.fill_(text_bias)
