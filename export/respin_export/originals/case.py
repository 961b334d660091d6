"""One call of a network whose right answer is known from somewhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from respin.specs import Array


def _as_they_are(outputs: Sequence[Array]) -> list[Array]:
    return list(outputs)


@dataclass(frozen=True)
class Case:
    """Inputs of a network's contract, and what the original implementation makes of them.

    Args:
        network: name of the contract.
        name: what it is called in a report.
        inputs: by name, with a leading batch axis.
        wanted: what is known of the original's outputs, by name.
        kept: cuts the same out of a network's outputs, in the order of `wanted`.
        raw_weights: whether it is of the UNet's last weights instead of their moving average.
    """

    network: str
    name: str
    inputs: Mapping[str, Array]
    wanted: Mapping[str, Array]
    kept: Callable[[Sequence[Array]], list[Array]] = _as_they_are
    raw_weights: bool = False


def channels_first(image: Array) -> Array:
    """A picture (H, W, 3) as a batch of one, (1, 3, H, W) float32."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None].astype(np.float32))


def normalised(image: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """A picture less its mean, divided by its standard deviation, by channel.

    Args:
        image: (H, W, 3).
        mean: by channel, in the image's own range.
        std: the same.

    Returns:
        (1, 3, H, W) float32.
    """
    return channels_first((image.astype(np.float32) - np.array(mean)) / np.array(std))
