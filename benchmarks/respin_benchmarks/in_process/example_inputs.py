"""The inputs that single networks are measured on."""

from __future__ import annotations

from collections.abc import Mapping

from respin.lengths import usual_lengths
from respin.model_set import Sizes
from respin.specs import Array, ModelSpec
from respin_export.example import example_inputs
from respin_export.half_parity import inputs_without_amplification

BATCHES = {"zero123_unet": (1, 4, 8), "inpaint_unet": (1, 2, 4), "clip_text": (2,)}
"""Of each network that is not called with one sample at a time."""


def usual_inputs(
    spec: ModelSpec, sizes: Sizes, batch: int, lengths: Mapping[str, int] | None = None
) -> dict[str, Array]:
    """Return example inputs at the lengths that a set fixes; others as given, or the usual ones of its pictures."""
    lengths = usual_lengths(spec, sizes) | dict(lengths or {})
    return inputs_without_amplification(example_inputs(spec, sizes, batch=batch, lengths=lengths, seed=1))


def batches_of(name: str, largest_batch: int) -> tuple[int, ...]:
    """Return the batches that a network is measured with.

    Args:
        name: of the network.
        largest_batch: the limit; a network that is only called with more is measured with its smallest batch.
    """
    usual = BATCHES.get(name, (1,))
    return tuple(each for each in usual if each <= largest_batch) or usual[:1]
