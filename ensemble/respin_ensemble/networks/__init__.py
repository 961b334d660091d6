"""The seam between the stages and the networks: `networks(contract, **arrays) -> arrays`.

There are two implementations: `networks.onnx` runs ONNX Runtime sessions in this process, `networks.triton` calls
models of the same Triton server by BLS. Stages do not know which one they use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from respin.model_set import Sizes
from respin.specs import Array, ModelSpec

NetworkCall = Callable[[Mapping[str, Array]], dict[str, Array]]
"""Runs one network on a batch and returns its outputs, by the names of its contract."""


class Networks(Protocol):
    """The ten networks of one set."""

    @property
    def sizes(self) -> Sizes:
        """The image sizes that the set was made for."""
        ...

    def __call__(self, spec: ModelSpec, **arrays: Array) -> dict[str, Array]:
        """Run one network.

        Args:
            spec: its contract.
            **arrays: all inputs by name, with a leading batch axis of any length.

        Returns:
            All outputs by name, with the same batch axis.

        Raises:
            ContractMismatch: the arrays do not match the contract.
            InternalError: the network failed.
        """
        ...


class BatchedNetworks(ABC):
    """Base class: checks inputs against the contract, and splits batches that are larger than it allows."""

    def __init__(self, sizes: Sizes) -> None:
        """Make the networks of a set with these sizes."""
        self.sizes = sizes

    def __call__(self, spec: ModelSpec, **arrays: Array) -> dict[str, Array]:
        """See `Networks`."""
        spec.check_inputs(arrays)
        count = len(arrays[spec.inputs[0].name])
        most = spec.max_batch_size
        batches = [
            self._run(spec, {name: array[start : start + most] for name, array in arrays.items()})
            for start in range(0, count, most)
        ]
        if len(batches) == 1:
            return batches[0]
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}

    @abstractmethod
    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        """Run one batch of at most the contract's size."""
