"""Seeded values for a checkpoint's tensors, spread so that activations stay finite through every network.

Tables and schedule buffers that upstream computes are computed here as well. All else is random, and drawn for each
key by itself, so that a tensor's values depend on nothing but the seed, its key and its shape.
"""

from __future__ import annotations

import re
import zlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

from respin.specs import Array
from respin_export.weights.stored import Stored

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean RGB that EDSR's first and last layer take away and add, as shares of 255."""

CLIP_LOGIT_SCALE = 4.6052
"""ln 100, the bound of CLIP's temperature."""

_SCALARS = {"model_ema.num_updates": 105_000, "model_ema.decay": 0.9999}

_SPREADS: tuple[tuple[re.Pattern[str], float, float], ...] = tuple(
    (re.compile(pattern), mean, spread)
    for pattern, mean, spread in (
        (r"sampling_offsets.*bias$", 0.0, 1.0),
        (r"(gamma_[vl]|vision_param|text_param)$", 0.1, 0.02),
        (r"positional_encoding_gaussian_matrix$", 0.0, 1.0),
        (
            r"iou_token|mask_tokens|point_embeddings|not_a_point_embed|no_mask_embed|tgt_embed|query_position_embeddings"
            r"|level_embed|label_enc|class_embedding",
            0.0,
            0.5,
        ),
        (
            r"positional_embedding|pos_embed|rel_pos_[hw]$|relative_position_bias_table|position_embedding"
            r"|token_type_embedding|word_embedding|token_embedding",
            0.0,
            0.1,
        ),
    )
)
"""Key -> (mean, standard deviation), the first that fits; LayerNorms are excepted."""

_APPLIED_FROM_THE_LEFT = re.compile(r"(visual\.proj|text_projection|output_upscaling\.[03]\.weight)$")
"""Matrices of `x @ P` and transposed convolutions: their first axis is the inputs'."""


def value_of(tensor: Stored, seed: int) -> Array:
    """The values of one tensor, of its shape and dtype.

    Args:
        tensor: its key says what it is for.
        seed: the same seed gives the same values.
    """
    key = tensor.shared or tensor.key
    computed = _computed(key, tensor.shape)
    values = _random(key, tensor.shape, seed) if computed is None else computed
    return np.ascontiguousarray(values.astype(tensor.dtype, copy=False)).reshape(tensor.shape)


def _computed(key: str, shape: tuple[int, ...]) -> Array | None:
    if key in (schedule := _schedule()):
        return schedule[key]
    if key.endswith("relative_position_index"):
        return _relative_position_index(round(shape[0] ** 0.5))
    if key.endswith("position_ids"):
        return np.arange(shape[1])[None]
    if not shape:
        return np.array(_SCALARS.get(key, CLIP_LOGIT_SCALE))
    return _mean_shifts().get(key)


def _random(key: str, shape: tuple[int, ...], seed: int) -> Array:
    # SFC64 is numpy's fastest; the full set has two thousand million values.
    bits = np.random.SFC64([seed, zlib.crc32(key.encode())])
    values: NDArray[np.float32] = np.random.Generator(bits).standard_normal(shape, dtype=np.float32)
    mean, spread = _mean_and_spread(key, shape)
    values *= np.float32(spread)
    values += np.float32(mean)
    return values


def _mean_and_spread(key: str, shape: tuple[int, ...]) -> tuple[float, float]:
    if "LayerNorm" not in key:
        for pattern, mean, spread in _SPREADS:
            if pattern.search(key):
                return mean, spread
    if len(shape) >= 2:
        inputs = shape[0] if _APPLIED_FROM_THE_LEFT.search(key) else int(np.prod(shape[1:]))
        return 0.0, inputs**-0.5
    return (1.0, 0.05) if key.endswith("weight") else (0.0, 0.01)


@cache
def _mean_shifts() -> dict[str, Array]:
    mean = 255 * np.array(DIV2K_MEAN)
    identity = np.eye(3)[:, :, None, None]
    return {
        "sub_mean.weight": identity,
        "sub_mean.bias": -mean,
        "add_mean.weight": identity,
        "add_mean.bias": mean,
    }


@cache
def _schedule() -> dict[str, NDArray[np.float64]]:
    """The diffusion buffers of a LatentDiffusion checkpoint (CompVis/latent-diffusion, `register_schedule`)."""
    betas = np.linspace(0.00085**0.5, 0.0120**0.5, 1000) ** 2
    alphas = 1 - betas
    product = np.cumprod(alphas)
    before = np.append(1.0, product[:-1])
    variance = betas * (1 - before) / (1 - product)
    return {
        "betas": betas,
        "alphas_cumprod": product,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": np.sqrt(product),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - product),
        "log_one_minus_alphas_cumprod": np.log(1 - product),
        "sqrt_recip_alphas_cumprod": np.sqrt(1 / product),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1 / product - 1),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": np.log(np.maximum(variance, 1e-20)),
        "posterior_mean_coef1": betas * np.sqrt(before) / (1 - product),
        "posterior_mean_coef2": (1 - before) * np.sqrt(alphas) / (1 - product),
    }


def _relative_position_index(window: int) -> NDArray[np.int64]:
    """Swin's table of which bias each pair of a window's cells takes: (window^2, window^2)."""
    cells = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij")).reshape(2, -1)
    apart = cells[:, :, None] - cells[:, None, :] + window - 1
    return np.asarray(apart[0] * (2 * window - 1) + apart[1])
