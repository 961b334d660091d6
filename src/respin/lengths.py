"""The lengths that jobs send where a contract leaves an axis free."""

from __future__ import annotations

from respin.model_set import Sizes
from respin.specs import Axis, ModelSpec

Lengths = dict[str, int]
"""Length of each free axis by name, without the batch axis."""


def free_axes(spec: ModelSpec, sizes: Sizes) -> list[Axis]:
    """Return the input axes without a length in the set, each once, in the contract's order."""
    axes = {
        length.name: length
        for tensor in spec.inputs
        for length in sizes.shape(tensor.shape)
        if isinstance(length, Axis)
    }
    return list(axes.values())


def usual_lengths(spec: ModelSpec, sizes: Sizes) -> Lengths:
    """Return the usual length of each input axis that the set leaves free, within the set's limits.

    Args:
        spec: the network's contract.
        sizes: image sizes of the set.
    """
    share = sizes.inpaint_side / Sizes().inpaint_side
    return {
        axis.name: max(axis.smallest, int(axis.usual * share) // axis.multiple_of * axis.multiple_of)
        for axis in free_axes(spec, sizes)
    }


def lengths_in_jobs(name: str, sizes: Sizes) -> list[Lengths]:
    """Return the lengths of a network's free axes in a job with a square photo; {} are the usual ones."""
    view = sizes.view_side
    others: dict[str, Lengths] = {
        "grounding_dino": {"height": sizes.detection_short_side, "width": sizes.detection_short_side},
        "vae_encoder": {"height": view, "width": view},
        "vae_decoder": {"latent_height": view // 8, "latent_width": view // 8},
    }
    return [{}, others[name]] if name in others else [{}]
