"""The shapes that a TensorRT engine plan is built for, from the contract."""

from __future__ import annotations

from respin.model_set import Sizes
from respin.specs import Axis, ModelSpec, TensorSpec

InputShape = tuple[int, ...]


def optimization_profile(
    spec: ModelSpec, sizes: Sizes, *, fewer_guidance: bool = False
) -> dict[str, tuple[InputShape, InputShape, InputShape]]:
    """Return the least, usual and greatest shape of each input, batch axis first.

    The greatest is the largest shape in jobs with the set: it determines the engine's scratch memory.

    Args:
        spec: the network's contract.
        sizes: image sizes of the set; lengths that it fixes are the same in all three.
        fewer_guidance: whether the graph takes less `guidance` than samples: at least none.
    """
    profile = {tensor.name: _shapes(spec, tensor, sizes) for tensor in spec.inputs}
    if fewer_guidance:
        (_, *rest), usual, greatest = profile["guidance"]
        profile["guidance"] = (0, *rest), usual, greatest
    return profile


def _shapes(spec: ModelSpec, tensor: TensorSpec, sizes: Sizes) -> tuple[InputShape, InputShape, InputShape]:
    ranges = [(1, spec.batch.usual, spec.max_batch_size)] if spec.batch else []
    for length in sizes.shape(tensor.shape):
        if isinstance(length, Axis):
            longest = sizes.longest(length)
            ranges.append((length.smallest, min(length.usual, longest), longest))
        else:
            ranges.append((length, length, length))
    least, usual, greatest = zip(*ranges, strict=True)
    return least, usual, greatest
