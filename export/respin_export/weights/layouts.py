"""Which tensors each checkpoint file holds, at the published size and at a mini one.

`layouts.json.xz` holds the keys and shapes of the upstream classes, {checkpoint: {size: {key: shape}}}; where a tensor
is not float32, [shape, dtype]. "reduced" is the same class with small constructor arguments.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from respin_export.weights.stored import Stored

Size = Literal["mini", "full"]

BERT_VOCABULARY = 30522
QUERIES = 900

_SAM_CHANNELS = 256
"""Of SAM's embedding: the contract has them at every size."""

_UNET = "model.diffusion_model."
_VAE = "first_stage_model."


def upstream(checkpoint: str, size: str) -> list[Stored]:
    """The tensors of an upstream class, in the order of its state dict.

    Args:
        checkpoint: "grounding_dino", "sam", "zero123" or "edsr".
        size: "full" or "reduced"; EDSR has "baseline" too.
    """
    return [
        Stored(key, tuple(value[0]), value[1]) if value and isinstance(value[0], list) else Stored(key, tuple(value))
        for key, value in _read()[checkpoint][size].items()
    ]


@cache
def _read() -> dict[str, dict[str, dict[str, Any]]]:
    packed = files("respin_export.weights").joinpath("layouts.json.xz").read_bytes()
    layouts: dict[str, dict[str, dict[str, Any]]] = json.loads(lzma.decompress(packed))
    return layouts


def grounding_dino(size: Size) -> list[Stored]:
    """The authors' file; mini has the contract's 900 queries and BERT's whole vocabulary, 64 wide.

    The box heads of all decoder layers are one module; with them stored once, the full file has the published size.
    """
    if size == "full":
        return [_with_shared_heads(tensor) for tensor in upstream("grounding_dino", "full")]
    rows = {"transformer.tgt_embed.weight": QUERIES, "word_embeddings.weight": BERT_VOCABULARY}
    return [_with_shared_heads(_with_rows(tensor, rows)) for tensor in upstream("grounding_dino", "reduced")]


_BOX_HEAD = re.compile(r"module\.(transformer\.decoder\.)?bbox_embed\.\d+\.(.*)")


def _with_shared_heads(tensor: Stored) -> Stored:
    match = _BOX_HEAD.fullmatch(tensor.key)
    return replace(tensor, shared=f"bbox_embed.{match[2]}") if match else tensor


def _with_rows(tensor: Stored, rows: dict[str, int]) -> Stored:
    for ending, count in rows.items():
        if tensor.key.endswith(ending):
            return replace(tensor, shape=(count, *tensor.shape[1:]))
    return tensor


def sam(size: Size) -> list[Stored]:
    """The authors' file; mini is the reduced encoder with the full decoder, whose width the contract fixes."""
    full = upstream("sam", "full")
    if size == "full":
        return full
    encoder = [tensor for tensor in upstream("sam", "reduced") if tensor.key.startswith("image_encoder.")]
    return [_with_wide_neck(tensor) for tensor in encoder] + [
        tensor for tensor in full if not tensor.key.startswith("image_encoder.")
    ]


def _with_wide_neck(tensor: Stored) -> Stored:
    if not tensor.key.startswith("image_encoder.neck."):
        return tensor
    shape = (_SAM_CHANNELS, *tensor.shape[1:])
    if tensor.key.endswith("neck.2.weight"):
        shape = (_SAM_CHANNELS, _SAM_CHANNELS, *tensor.shape[2:])
    return replace(tensor, shape=shape)


def edsr(size: Size, variant: str) -> list[Stored]:
    """The authors' file; mini is the same for both variants."""
    return upstream("edsr", "reduced" if size == "mini" else variant)


def zero123(size: Size) -> list[Stored]:
    """The state dict of the authors' Lightning checkpoint: UNet, its EMA, VAE, CLIP tower, projection, schedule."""
    return upstream("zero123", "full" if size == "full" else "reduced")


def inpaint_ckpt(size: Size, text_encoder: Iterable[Stored]) -> list[Stored]:
    """The state dict of the authors' single file, of the same classes as Zero123's, without EMA.

    That it has none follows from its size: 4 bytes for each value of UNet, VAE and text encoder.

    Args:
        size: of all widths.
        text_encoder: its tensors, as transformers' checkpoints name them.
    """
    return [*_latent_diffusion(size), *_prefixed(text_encoder, "cond_stage_model.transformer.")]


def _latent_diffusion(size: Size) -> Iterator[Stored]:
    for tensor in zero123(size):
        if tensor.key == f"{_UNET}input_blocks.0.0.weight":
            # Latents, mask and the masked image's latents, where Zero123 has two times latents.
            yield replace(tensor, shape=(tensor.shape[0], 9, *tensor.shape[2:]))
        elif tensor.key.startswith((_UNET, _VAE)) or "." not in tensor.key:
            yield tensor


def _prefixed(tensors: Iterable[Stored], prefix: str) -> Iterator[Stored]:
    for tensor in tensors:
        yield replace(tensor, key=prefix + tensor.key)


def optimizer_state(size: Size) -> dict[str, Any]:
    """Adam's state in Zero123's Lightning checkpoint: two moments for each parameter of the UNet and the projection."""
    trained = [tensor for tensor in zero123(size) if tensor.key.startswith((_UNET, "cc_projection."))]
    return {
        "state": {
            number: {
                "step": 105_000,
                "exp_avg": replace(tensor, key=f"{tensor.key}.exp_avg"),
                "exp_avg_sq": replace(tensor, key=f"{tensor.key}.exp_avg_sq"),
            }
            for number, tensor in enumerate(trained)
        },
        "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "params": list(range(len(trained)))}],
    }
