"""The tensors of each checkpoint file, at the published size and at a mini one.

A layout is a state dict of tensors on torch's meta device: names, shapes and dtypes without values. `layouts.json.xz`
holds the names and shapes of the authors' classes, {checkpoint: {size: {name: shape}}}; where a tensor is not float32,
[shape, dtype]. "reduced" is the same class with small constructor arguments.
"""

from __future__ import annotations

import json
import lzma
import re
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import torch
from torch import Tensor

LayoutSize = Literal["mini", "full"]
Layout = dict[str, Tensor]

BERT_VOCABULARY = 30522
QUERIES = 900

_SAM_CHANNELS = 256
"""Channels of SAM's embedding, which the contract fixes at every size."""

_UNET = "model.diffusion_model."
_VAE = "first_stage_model."
_BOX_HEAD = re.compile(r"module\.(transformer\.decoder\.)?bbox_embed\.\d+\.(.*)")


def upstream(checkpoint: str, size: str) -> Layout:
    """Return the tensors of an authors' class, in the order of its state dict.

    Args:
        checkpoint: "grounding_dino", "sam", "zero123" or "edsr".
        size: "full" or "reduced"; EDSR has "baseline" too.
    """
    return {
        name: _meta(*value) if value and isinstance(value[0], list) else _meta(value)
        for name, value in _read()[checkpoint][size].items()
    }


@cache
def _read() -> dict[str, dict[str, dict[str, Any]]]:
    packed = files("respin_export.weights").joinpath("layouts.json.xz").read_bytes()
    layouts: dict[str, dict[str, dict[str, Any]]] = json.loads(lzma.decompress(packed))
    return layouts


def _meta(shape: list[int] | tuple[int, ...], dtype: str = "float32") -> Tensor:
    return torch.empty(shape, dtype=getattr(torch, dtype), device="meta")


def grounding_dino(size: LayoutSize) -> Layout:
    """Return the layout of the authors' file; mini has the contract's 900 queries and BERT's whole vocabulary.

    The box heads of all decoder layers are one module; with them stored once, the full file has the published size.
    """
    tensors = upstream("grounding_dino", "full" if size == "full" else "reduced")
    for name, rows in (("transformer.tgt_embed.weight", QUERIES), ("word_embeddings.weight", BERT_VOCABULARY)):
        (key,) = (key for key in tensors if key.endswith(name))
        tensors[key] = _meta((rows, *tensors[key].shape[1:]))
    heads: Layout = {}
    for key, tensor in tensors.items():
        if match := _BOX_HEAD.fullmatch(key):
            tensors[key] = heads.setdefault(match[2], tensor)
    return tensors


def sam(size: LayoutSize) -> Layout:
    """Return the layout of the authors' file; mini is the reduced encoder with the full decoder."""
    full = upstream("sam", "full")
    if size == "full":
        return full
    encoder = {key: tensor for key, tensor in upstream("sam", "reduced").items() if key.startswith("image_encoder.")}
    for key, tensor in encoder.items():
        if key.startswith("image_encoder.neck."):
            inputs = (_SAM_CHANNELS,) if key.endswith("neck.2.weight") else tensor.shape[1:2]
            encoder[key] = _meta((_SAM_CHANNELS, *inputs, *tensor.shape[2:]))
    return encoder | {key: tensor for key, tensor in full.items() if not key.startswith("image_encoder.")}


def edsr(size: LayoutSize, variant: str) -> Layout:
    """Return the layout of the authors' file; mini is the same for both variants."""
    return upstream("edsr", "reduced" if size == "mini" else variant)


def zero123(size: LayoutSize) -> Layout:
    """Return the state dict of the authors' Lightning checkpoint: UNet, EMA, VAE, CLIP, projection, schedule."""
    return upstream("zero123", "full" if size == "full" else "reduced")


def inpaint_ckpt(size: LayoutSize, text_encoder: Layout) -> Layout:
    """Return the state dict of the authors' single file: the same classes as Zero123's, without EMA.

    That it has none follows from its size: 4 bytes for each value of UNet, VAE and text encoder.

    Args:
        size: size of the network.
        text_encoder: tensors of the text encoder, under the names of transformers' checkpoints.
    """
    tensors = {key: tensor for key, tensor in zero123(size).items() if key.startswith((_UNET, _VAE)) or "." not in key}
    first = f"{_UNET}input_blocks.0.0.weight"
    # Latents, mask and the masked image's latents; Zero123 has two latents.
    tensors[first] = _meta((tensors[first].shape[0], 9, *tensors[first].shape[2:]))
    return tensors | {f"cond_stage_model.transformer.{key}": tensor for key, tensor in text_encoder.items()}


def optimizer_state(size: LayoutSize) -> dict[str, Any]:
    """Return Adam's state in Zero123's file: two moments for each parameter of the UNet and the projection."""
    trained = [tensor for key, tensor in zero123(size).items() if key.startswith((_UNET, "cc_projection."))]
    moments = [
        {"step": 105_000, "exp_avg": torch.empty_like(tensor), "exp_avg_sq": torch.empty_like(tensor)}
        for tensor in trained
    ]
    group = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "params": list(range(len(trained)))}
    return {"state": dict(enumerate(moments)), "param_groups": [group]}
