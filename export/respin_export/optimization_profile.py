"""The lengths that a TensorRT engine is built for, from the contract."""

from __future__ import annotations

from respin.model_set import Sizes
from respin.specs import Axis, ModelSpec, TensorSpec

Shape = tuple[int, ...]


def optimization_profile(spec: ModelSpec, sizes: Sizes) -> dict[str, tuple[Shape, Shape, Shape]]:
    """Least, usual and greatest shape of each input, with the batch axis in front.

    Args:
        spec: the network's contract.
        sizes: of the set; what it fixes is the same in all three.
    """
    return {tensor.name: _shapes(spec, tensor, sizes) for tensor in spec.inputs}


def _shapes(spec: ModelSpec, tensor: TensorSpec, sizes: Sizes) -> tuple[Shape, Shape, Shape]:
    lengths = [each for each in (spec.batch, *sizes.shape(tensor.shape)) if each is not None]
    least = tuple(each.smallest if isinstance(each, Axis) else each for each in lengths)
    usual = tuple(each.usual if isinstance(each, Axis) else each for each in lengths)
    greatest = tuple(each.largest if isinstance(each, Axis) else each for each in lengths)
    return least, usual, greatest
