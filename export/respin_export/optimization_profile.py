"""The lengths that a TensorRT engine is built for, from the contract."""

from __future__ import annotations

from respin.model_set import Sizes
from respin.specs import Axis, ModelSpec, TensorSpec

InputShape = tuple[int, ...]


def optimization_profile(spec: ModelSpec, sizes: Sizes) -> dict[str, tuple[InputShape, InputShape, InputShape]]:
    """Least, usual and greatest shape of each input, with the batch axis in front.

    The greatest is what jobs with the set send and no more: an engine's scratch memory is laid out for it.

    Args:
        spec: the network's contract.
        sizes: of the set; what it fixes is the same in all three.
    """
    return {tensor.name: _shapes(spec, tensor, sizes) for tensor in spec.inputs}


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
