"""The seam between the stages and the networks: `networks(contract, **arrays) -> arrays`.

`networks.triton` calls models of the same Triton server by BLS; `networks.onnx`, `networks.torch_networks` and
`networks.tensorrt` run the networks in this process, and `networks.in_process` loads the one that was chosen. Stages do
not know which one they use.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NoReturn, Protocol

import numpy as np

from respin.errors import Busy
from respin.model_set import Sizes
from respin.specs import Array, ModelSpec
from respin_ensemble.networks.memory_errors import is_out_of_memory, release_frames
from respin_ensemble.networks.residency import Pageable

_log = logging.getLogger(__name__)

NetworkCall = Callable[[Mapping[str, Array]], dict[str, Array]]
"""Runs one network on a batch and returns its outputs, by the names of its contract."""

NOT_PAGED: Mapping[str, Pageable] = MappingProxyType({})
"""All networks stay loaded."""


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
            **arrays: all inputs by name, with a leading batch axis of any length. What is constant over many calls is
                best passed as the same read-only arrays: a GPU receives those once.

        Returns:
            All outputs by name, with the same batch axis.

        Raises:
            ContractMismatch: the arrays do not match the contract.
            Busy: there is too little memory for the call now.
            InternalError: the network failed.
        """
        ...

    def for_job(self, check: Callable[[], None]) -> Networks:
        """Return these networks for the calls of one job.

        Args:
            check: raises once the job is cancelled; ends a call that waits for memory.
        """
        ...


class BatchedNetworks(ABC):
    """Base class: checks inputs against the contract, and splits batches that are larger than it allows.

    Attributes:
        pageables: the networks that are loaded only while they are needed, by name.
    """

    pageables: Mapping[str, Pageable] = NOT_PAGED

    def __init__(self, sizes: Sizes) -> None:
        """Make the networks of a set with these sizes."""
        self.sizes = sizes

    def __call__(self, spec: ModelSpec, **arrays: Array) -> dict[str, Array]:
        """See `Networks`."""
        spec.check_inputs(arrays)
        count = len(arrays[spec.inputs[0].name])
        most = spec.max_batch_size
        try:
            if count <= most:
                # The arrays themselves: runtimes recognise those that they have on their device already.
                return self._run(spec, arrays)
            batches = [
                self._run(spec, {name: array[start : start + most] for name, array in arrays.items()})
                for start in range(0, count, most)
            ]
        except Exception as error:  # runtimes have no common class for errors
            if not is_out_of_memory(error):
                raise
            self._fail_for_memory(spec, min(count, most), error)
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}

    def for_job(self, check: Callable[[], None]) -> BatchedNetworks:
        """See `Networks`."""
        return self

    def _fail_for_memory(self, spec: ModelSpec, samples: int, error: Exception) -> NoReturn:
        _log.warning("%s ran out of memory at a batch of %d: %s", spec.name, samples, error)
        release_frames(error)
        self.release_memory()
        raise Busy(
            f"{spec.name} ran out of memory with {samples} samples in a call; send the request again when fewer jobs "
            "run, with fewer views, or with a smaller photo"
        ) from None

    def release_memory(self) -> None:
        """Give back what is kept for calls to come; called after a call has run out of memory."""
        return

    @abstractmethod
    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        """Run one batch of at most the contract's size."""
