"""Weights and inputs that the reference outputs were made with: each a fixed function of its name and shape.

    z = numpy.random.default_rng(zlib.crc32(name)).standard_normal(shape, dtype=float32)

scaled by `_spread`; tables and schedules are computed. A reference folder's README.md says what is in it.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from respin.specs import Array

DIV2K_MEAN = np.array([0.4488, 0.4371, 0.4040], np.float32)

_TOKENS = (
    r"iou_token|mask_tokens|point_embeddings|not_a_point_embed|no_mask_embed|tgt_embed|level_embed|label_enc"
    r"|class_embedding"
)
_TABLES = (
    r"positional_embedding|pos_embed|rel_pos_[hw]|relative_position_bias_table|position_embeddings"
    r"|token_type_embeddings|word_embeddings|token_embedding"
)


def state_dict(layout: Path) -> dict[str, Array]:
    """All tensors of a `layout.json`, by key."""
    return {key: fill(key, tuple(shape)) for key, (shape, _) in json.loads(layout.read_text()).items()}


def fill(key: str, shape: tuple[int, ...]) -> Array:
    """The value of one key."""
    # GroundingDINO's box heads are one, under several names.
    key = re.sub(r"^(transformer\.decoder\.)?bbox_embed\.\d+\.", "bbox_embed.0.", key.removeprefix("module."))
    computed = _computed(key, shape)
    if computed is not None:
        return computed
    z = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape, dtype=np.float32)
    return _spread(key, z)


def _computed(key: str, shape: tuple[int, ...]) -> Array | None:
    if key.endswith("relative_position_index"):
        return _relative_positions(round(shape[0] ** 0.5))
    constants: dict[str, Callable[[], Array]] = {
        "bert.embeddings.position_ids": lambda: np.arange(shape[1], dtype=np.int64)[None],
        "model_ema.num_updates": lambda: np.array(105000, np.int32),
        "model_ema.decay": lambda: np.array(0.9999, np.float32),
        "sub_mean.weight": lambda: np.eye(3, dtype=np.float32)[:, :, None, None],
        "add_mean.weight": lambda: np.eye(3, dtype=np.float32)[:, :, None, None],
        "sub_mean.bias": lambda: (-255 * DIV2K_MEAN).astype(np.float32),
        "add_mean.bias": lambda: (255 * DIV2K_MEAN).astype(np.float32),
    }
    if key in constants:
        return constants[key]()
    if key in _SCHEDULE:
        return _SCHEDULE[key]
    return None if shape else np.array(4.6052, np.float32)


def _spread(key: str, z: Array) -> Array:  # noqa: PLR0911 (one return a rule)
    one = np.float32
    if re.search(r"sampling_offsets.*bias$|positional_encoding_gaussian_matrix$", key):
        return z
    if key.endswith(("gamma_v", "gamma_l")):
        return one(0.1) + one(0.02) * z
    if re.search(_TOKENS, key):
        return one(0.5) * z
    if re.search(_TABLES, key) and "LayerNorm" not in key:
        return one(0.1) * z
    if re.search(r"visual\.proj$|text_projection$|output_upscaling\.[03]\.weight$", key):
        return z * one(z.shape[0] ** -0.5)
    if z.ndim >= 2:
        return z * one(float(np.prod(z.shape[1:])) ** -0.5)
    return one(1) + one(0.05) * z if key.endswith("weight") else one(0.01) * z


def _schedule() -> dict[str, Array]:
    """The buffers of latent diffusion's noise schedule."""
    betas = np.linspace(0.00085**0.5, 0.0120**0.5, 1000, dtype=np.float64) ** 2
    alphas = 1.0 - betas
    shares = np.cumprod(alphas)
    previous = np.append(1.0, shares[:-1])
    variance = betas * (1.0 - previous) / (1.0 - shares)
    buffers = {
        "betas": betas,
        "alphas_cumprod": shares,
        "alphas_cumprod_prev": previous,
        "sqrt_alphas_cumprod": np.sqrt(shares),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - shares),
        "log_one_minus_alphas_cumprod": np.log(1 - shares),
        "sqrt_recip_alphas_cumprod": np.sqrt(1 / shares),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1 / shares - 1),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": np.log(np.maximum(variance, 1e-20)),
        "posterior_mean_coef1": betas * np.sqrt(previous) / (1 - shares),
        "posterior_mean_coef2": (1 - previous) * np.sqrt(alphas) / (1 - shares),
    }
    return {key: values.astype(np.float32) for key, values in buffers.items()}


_SCHEDULE = _schedule()


def _relative_positions(window: int) -> Array:
    """Swin's table index: (window^2, window^2) int64."""
    cells = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij")).reshape(2, -1)
    shifts = (cells[:, :, None] - cells[:, None, :]).transpose(1, 2, 0) + (window - 1)
    return np.asarray(shifts[..., 0] * (2 * window - 1) + shifts[..., 1], np.int64)


def image(name: str, height: int, width: int) -> Array:
    """A test picture, (height, width, 3) uint8: smooth waves, blocks, and a little noise."""
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
    """A standard normal array, float32."""
    return np.random.default_rng(zlib.crc32(f"noise:{name}".encode())).standard_normal(shape, dtype=np.float32)
