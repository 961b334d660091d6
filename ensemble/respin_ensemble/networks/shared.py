"""Networks that share a device's memory, behind the same seam as those that have enough of it."""

from __future__ import annotations

from collections.abc import Callable

from respin.specs import Array, ModelSpec
from respin_ensemble.networks import BatchedNetworks
from respin_ensemble.networks.residency import Residency


class SharedNetworks(BatchedNetworks):
    """Networks of which each call waits until its network is loaded.

    A call of more samples than the contract allows waits anew for each of its batches: others may go in between.

    Args:
        networks: the networks, of which not all are loaded.
        residency: loads and evicts them.
        check: raises if a wait for memory is to end.
    """

    def __init__(
        self, networks: BatchedNetworks, residency: Residency, check: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(networks.sizes)
        self._networks, self._residency, self._check = networks, residency, check

    def for_job(self, check: Callable[[], None]) -> SharedNetworks:
        """See `Networks`."""
        return SharedNetworks(self._networks, self._residency, check)

    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        with self._residency.use(spec.name, self._check):
            return self._networks(spec, **arrays)

    def release_memory(self) -> None:
        """See `BatchedNetworks`."""
        self._networks.release_memory()
