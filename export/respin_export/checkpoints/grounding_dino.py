"""GroundingDINO from IDEA-Research's .pth, or from the files of the Hugging Face repository grounding-dino-tiny."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import nn
from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

from respin_export.checkpoints import keys
from respin_export.checkpoints.checkpoint import Checkpoint, fill_pretrained, read_config
from respin_export.checkpoints.folders import weights_file
from respin_export.networks.grounding_dino import GroundingDino

EXPECTED = "a GroundingDINO checkpoint (groundingdino_swint_ogc.pth, or the folder of grounding-dino-tiny)"

_WRAPPINGS = re.compile(r"^((module|model)\.)+")
"""Prefixes that training scripts leave on every key."""

SAMPLED_POINTS = 4
"""Sampled points for each head and level of deformable attention (config/GroundingDINO_SwinT_OGC.py)."""

TEXT_HEADS = {768: 12}
"""Number of attention heads of BERT by its width, of bert-base-uncased."""


def load(_network: str, path: Path, *, raw_weights: bool = False) -> nn.Module:
    """Fill the network `grounding_dino`.

    Args:
        path: path of the folder, or of the .pth; a BERT other than the published one needs a `config.json` beside it
            with `bert.num_attention_heads`.
        raw_weights: ignored.

    Raises:
        InvalidInput: the file or folder is not this checkpoint.
    """
    return GroundingDino(_from_folder(path) if path.is_dir() else _from_file(path))


def _from_folder(folder: Path) -> Any:
    read_config(folder / "config.json")  # checked first: the library's errors are long
    config = GroundingDinoConfig.from_pretrained(folder, local_files_only=True)
    config.disable_custom_kernels = True
    checkpoint = Checkpoint.read(weights_file(folder), EXPECTED)
    # The library converts its older names itself.
    state = keys.rename_tensors(checkpoint.tensors, (), leftovers=keys.GROUNDING_DINO_LEFTOVERS)
    return fill_pretrained(GroundingDinoForObjectDetection, config, state, checkpoint)


def _from_file(path: Path) -> Any:
    read = Checkpoint.read(path, EXPECTED)
    checkpoint = Checkpoint(path, EXPECTED, {_remove_wrappings(name): tensor for name, tensor in read.tensors.items()})
    state = keys.rename_tensors(checkpoint.tensors, keys.GROUNDING_DINO, leftovers=keys.GROUNDING_DINO_LEFTOVERS)
    return fill_pretrained(GroundingDinoForObjectDetection, _config(checkpoint), state, checkpoint)


def _remove_wrappings(name: str) -> str:
    return _WRAPPINGS.sub("", name)


def _config(checkpoint: Checkpoint) -> GroundingDinoConfig:
    levels = checkpoint.count("input_proj.")
    queries, width = checkpoint.shape("transformer.tgt_embed.weight")
    weights = checkpoint.shape("transformer.encoder.layers.0.self_attn.attention_weights.weight")[0]
    heads = weights // (levels * SAMPLED_POINTS)
    feed_forward = "transformer.{}.layers.0.linear1.weight"
    return GroundingDinoConfig(
        backbone_config=_swin(checkpoint),
        text_config=_bert(checkpoint),
        num_queries=queries,
        d_model=width,
        num_feature_levels=levels,
        encoder_layers=checkpoint.count("transformer.encoder.layers."),
        decoder_layers=checkpoint.count("transformer.decoder.layers."),
        encoder_ffn_dim=checkpoint.shape(feed_forward.format("encoder"))[0],
        decoder_ffn_dim=checkpoint.shape(feed_forward.format("decoder"))[0],
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_n_points=SAMPLED_POINTS,
        decoder_n_points=SAMPLED_POINTS,
        disable_custom_kernels=True,
    )


def _swin(checkpoint: Checkpoint) -> SwinConfig:
    width = checkpoint.shape("backbone.0.patch_embed.proj.weight", axes=4)[0]
    stages = range(checkpoint.count("backbone.0.layers."))
    blocks = "backbone.0.layers.{}.blocks."
    tables = [checkpoint.shape(f"{blocks.format(stage)}0.attn.relative_position_bias_table") for stage in stages]
    outputs = [int(match[1]) + 1 for name in checkpoint.tensors if (match := _OUTPUT_NORM.match(name))]
    return SwinConfig(
        embed_dim=width,
        depths=[checkpoint.count(blocks.format(stage)) for stage in stages],
        num_heads=[heads for _, heads in tables],
        # The table has a row for each of (2 * window - 1)^2 shifts.
        window_size=(int(tables[0][0] ** 0.5) + 1) // 2,
        mlp_ratio=checkpoint.shape("backbone.0.layers.0.blocks.0.mlp.fc1.weight")[0] / width,
        out_indices=sorted(outputs),
    )


_OUTPUT_NORM = re.compile(r"backbone\.0\.norm(\d)\.weight")


def _bert(checkpoint: Checkpoint) -> BertConfig:
    vocabulary, width = checkpoint.shape("bert.embeddings.word_embeddings.weight")
    heads = checkpoint.config_value("bert.num_attention_heads", TEXT_HEADS.get(width))
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=checkpoint.count("bert.encoder.layer."),
        num_attention_heads=heads,
        intermediate_size=checkpoint.shape("bert.encoder.layer.0.intermediate.dense.weight")[0],
        max_position_embeddings=checkpoint.shape("bert.embeddings.position_embeddings.weight")[0],
    )
