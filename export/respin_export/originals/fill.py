"""Weights and inputs made from names: random wherever a network reads them.

`fill("conv_in.weight", (320, 4, 3, 3))` returns the same array on every machine. The reference outputs were computed
with these arrays (the README.md of a reference folder lists them), and `respin weights synthesize` writes others of
the same spread. For the reference,

    z = numpy.random.default_rng(zlib.crc32(name)).standard_normal(shape, dtype=float32)

is scaled so that activations stay finite through every network.
"""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path

import numpy as np

from respin.specs import Array
from respin_export.networks.edsr import DIV2K_MEAN

CLIP_LOGIT_SCALE = 4.6052
"""ln 100, the bound of CLIP's temperature."""

_TOKENS = (
    r"iou_token|mask_tokens|point_embeddings|not_a_point_embed|no_mask_embed|tgt_embed|query_position_embeddings"
    r"|level_embed|label_enc|class_embedding"
)
_TABLES = (
    r"positional_embedding|pos_embed|rel_pos_[hw]|relative_position_bias_table|position_embedding"
    r"|token_type_embedding|word_embedding|token_embedding"
)
_MEAN = 255 * np.array(DIV2K_MEAN, np.float32)
_CONSTANTS: dict[str, Array] = {
    "sub_mean.weight": np.eye(3)[:, :, None, None],
    "add_mean.weight": np.eye(3)[:, :, None, None],
    "sub_mean.bias": -_MEAN,
    "add_mean.bias": _MEAN,
}
"""EDSR's layers that training leaves as they are."""

_APPLIED_FROM_THE_LEFT = r"(visual\.proj|text_projection|output_upscaling\.[03]\.weight)$"
"""Matrices of `x @ P` and transposed convolutions: their first axis is that of the inputs."""


def state_dict(layout: Path) -> dict[str, Array]:
    """Return all tensors of a `layout.json` by key, filled as for the reference outputs."""
    return {key: fill(key, tuple(shape)) for key, (shape, _) in json.loads(layout.read_text()).items()}


def fill(key: str, shape: tuple[int, ...], seed: int | None = None) -> Array:
    """Return the value of one tensor, float32; tables that upstream computes and our loaders drop are random too.

    Args:
        key: name of the tensor in the authors' checkpoint.
        shape: () for a scalar.
        seed: another seed gives other random values; None gives those of the reference outputs.
    """
    # GroundingDINO's box heads are one module under several names.
    key = re.sub(r"^(transformer\.decoder\.)?bbox_embed\.\d+\.", "bbox_embed.0.", key.removeprefix("module."))
    if key in _CONSTANTS:
        return np.array(_CONSTANTS[key], np.float32)
    if not shape:
        return np.array(CLIP_LOGIT_SCALE, np.float32)
    name = zlib.crc32(key.encode())
    # SFC64 is numpy's fastest generator; the published checkpoints have two thousand million values.
    bits = np.random.PCG64(name) if seed is None else np.random.SFC64([seed, name])
    z = np.random.Generator(bits).standard_normal(shape, dtype=np.float32)
    mean, spread = _mean_and_spread(key, shape)
    z *= np.float32(spread)
    z += np.float32(mean)
    return z


def _mean_and_spread(key: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the mean and the standard deviation of a tensor's random values."""
    rules = (
        (r"sampling_offsets.*bias$|positional_encoding_gaussian_matrix$", 0.0, 1.0),
        (r"(gamma_[vl]|vision_param|text_param)$", 0.1, 0.02),
        (_TOKENS, 0.0, 0.5),
        (_TABLES, 0.0, 0.1),
    )
    for pattern, mean, spread in () if "LayerNorm" in key else rules:
        if re.search(pattern, key):
            return mean, spread
    if len(shape) >= 2:
        inputs = shape[0] if re.search(_APPLIED_FROM_THE_LEFT, key) else float(np.prod(shape[1:]))
        return 0.0, inputs**-0.5
    return (1.0, 0.05) if key.endswith("weight") else (0.0, 0.01)


def image(name: str, height: int, width: int) -> Array:
    """Return a test picture, (height, width, 3) uint8: smooth waves, blocks, and a little noise."""
    generator = np.random.default_rng(zlib.crc32(f"image:{name}".encode()))
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    picture = np.zeros((height, width, 3))
    for channel in range(3):
        for _ in range(4):
            fx, fy, phase = generator.uniform(-6, 6), generator.uniform(-6, 6), generator.uniform(0, 6.28)
            picture[..., channel] += np.sin(2 * np.pi * (fx * x / width + fy * y / height) + phase)
    for _ in range(6):
        top, left = generator.integers(0, max(height - 8, 1)), generator.integers(0, max(width - 8, 1))
        down, across = generator.integers(4, max(height // 3, 5)), generator.integers(4, max(width // 3, 5))
        picture[top : top + down, left : left + across] += generator.uniform(-2, 2, 3)
    picture = 127.5 + 40 * picture + generator.uniform(-6, 6, picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def noise(name: str, shape: tuple[int, ...]) -> Array:
    """Return a standard normal array, float32."""
    return np.random.default_rng(zlib.crc32(f"noise:{name}".encode())).standard_normal(shape, dtype=np.float32)
