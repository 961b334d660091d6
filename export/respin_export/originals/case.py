"""Calls of networks with the outputs of the original implementations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from respin.specs import Array
from respin_export.checkpoints import CHECKPOINT_OF
from respin_export.originals.reference import Reference


def _as_they_are(outputs: Sequence[Array]) -> list[Array]:
    return list(outputs)


@dataclass(frozen=True)
class Case:
    """One call of a network: its inputs, and the original implementation's outputs.

    Args:
        network: name of the contract.
        name: label of the call in a report.
        inputs: arrays by name, with a leading batch axis.
        wanted: known parts of the original's outputs, by name.
        kept: takes the same parts from a network's outputs, in the order of `wanted`.
        raw_weights: whether the original used the UNet's last weights instead of their moving average.
    """

    network: str
    name: str
    inputs: Mapping[str, Array]
    wanted: Mapping[str, Array]
    kept: Callable[[Sequence[Array]], list[Array]] = _as_they_are
    raw_weights: bool = False


def channels_first(image: Array) -> Array:
    """Return a picture (H, W, 3) as a batch of one, (1, 3, H, W) float32."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None].astype(np.float32))


def normalise(image: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """Subtract the mean of each channel and divide by its standard deviation.

    Args:
        image: (H, W, 3).
        mean: one number for each channel, in the image's own range.
        std: one number for each channel.

    Returns:
        (1, 3, H, W) float32.
    """
    return channels_first((image.astype(np.float32) - np.array(mean)) / np.array(std))


def cases_of(network: str, reference: Reference, weights: Path) -> list[Case]:
    """Return the calls of a network whose outputs are known.

    Args:
        network: name of the network.
        reference: a reference folder.
        weights: folder with the checkpoints of `Reference.write_weights`, and inpainting's as a diffusers folder.
    """
    checkpoint = CHECKPOINT_OF[network]
    known = import_module(f"respin_export.originals.{checkpoint}")
    # The originals of inpainting's layout are the libraries themselves.
    return list(known.cases(weights if checkpoint == "inpaint" else reference, network))
