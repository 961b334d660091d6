"""Example inputs of a network from its contract, for tracing, parity checks and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from respin.contracts.networks import CAPTION_TOKENS, PROMPT_TOKENS
from respin.lengths import free_axes
from respin.model_set import Sizes
from respin.specs import Array, Axis, ModelSpec, TensorSpec

AxisLengths = Mapping[str, int]
"""Length of each free axis by name, without the batch axis."""

CAPTION_IDS = (101, 2436, 3242, 1012, 12191, 1012, 102)
"""BERT's ids of "office chair . laptop ." between [CLS] and [SEP]."""

PHRASES = ((1, 4), (4, 6))
"""Begin and end of each phrase of the caption, with its closing full stop."""

_RANGES = {
    ("edsr", "image"): (0, 255),
    ("vae_encoder", "image"): (-1, 1),
    ("*", "timestep"): (0, 999),
    ("*", "guidance"): (1, 10),
}
"""Least and greatest value of an input of one network or of all ("*"); other inputs are standard normal."""

FIRST_CLIP_ID, LAST_CLIP_ID = 49406, 49407
"""CLIP's start and end tokens; the last also pads."""


def example_lengths(spec: ModelSpec, sizes: Sizes, shares: tuple[float, ...] = (0.3, 0.5)) -> dict[str, int]:
    """Choose a length for each input axis that the set leaves free.

    Args:
        spec: the network's contract.
        sizes: image sizes of the set.
        shares: position between the least and the usual length, for each free axis in turn; different ones show a
            graph that confuses height and width.
    """
    lengths = {}
    for axis, share in zip(free_axes(spec, sizes), shares, strict=False):
        length = axis.smallest + share * (axis.usual - axis.smallest)
        lengths[axis.name] = int(length) // axis.multiple_of * axis.multiple_of
    return lengths


def example_inputs(
    spec: ModelSpec, sizes: Sizes, *, batch: int, lengths: AxisLengths, seed: int = 0
) -> dict[str, Array]:
    """Make inputs with values as the contract describes them.

    Args:
        spec: the network's contract.
        sizes: image sizes of the set.
        batch: number of samples.
        lengths: lengths of the free axes, e.g. from `example_lengths`.
        seed: seed of the random values.

    Returns:
        Each input by name, in the contract's order, with a leading batch axis.
    """
    generator = np.random.default_rng(seed)
    inputs = {}
    for tensor in spec.inputs:
        shape = (batch, *(_length(each, lengths) for each in sizes.shape(tensor.shape)))
        values = _values(spec, tensor, shape, sizes, generator)
        inputs[tensor.name] = np.array(values, dtype=tensor.dtype.numpy, order="C")
    return inputs


def _length(length: int | Axis, lengths: AxisLengths) -> int:
    return lengths[length.name] if isinstance(length, Axis) else length


def _values(
    spec: ModelSpec, tensor: TensorSpec, shape: tuple[int, ...], sizes: Sizes, generator: np.random.Generator
) -> Array:
    if spec.name == "grounding_dino" and tensor.name in _CAPTION:
        return np.broadcast_to(_CAPTION[tensor.name], shape)
    if tensor.name == "input_ids":
        return _prompts(shape, generator)
    if tensor.name == "box":
        return np.sort(generator.uniform(0, sizes.sam_side, (shape[0], 2, 2)), axis=1).reshape(shape)
    if tensor.name == "mask":
        return generator.integers(0, 2, shape)
    low_high = _RANGES.get((spec.name, tensor.name)) or _RANGES.get(("*", tensor.name))
    return generator.uniform(*low_high, shape) if low_high else generator.standard_normal(shape)


def _prompts(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    prompts = np.full(shape, LAST_CLIP_ID)
    prompts[:, 0] = FIRST_CLIP_ID
    words = PROMPT_TOKENS // 3
    prompts[:, 1 : 1 + words] = generator.integers(0, FIRST_CLIP_ID, (shape[0], words))
    return prompts


def caption_inputs(
    ids: Sequence[int], phrases: Sequence[tuple[int, int]], length: int = CAPTION_TOKENS
) -> dict[str, Array]:
    """Return the four text inputs of a caption, without a batch axis: a token sees its phrase, others see themselves.

    Args:
        ids: BERT's tokens of the caption.
        phrases: begin and end of each phrase, with its closing full stop.
        length: number of tokens to pad to.
    """
    padded = np.zeros(length, np.int64)
    padded[: len(ids)] = ids
    positions, visible = np.zeros_like(padded), np.eye(length, dtype=bool)
    for start, end in phrases:
        positions[start:end] = np.arange(end - start)
        visible[start:end, start:end] = True
    return {
        "input_ids": padded,
        "attention_mask": np.arange(length) < len(ids),
        "position_ids": positions,
        "text_self_attention_mask": visible,
    }


_CAPTION = caption_inputs(CAPTION_IDS, PHRASES)
