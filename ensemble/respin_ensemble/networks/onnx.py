"""Networks in this process, as ONNX Runtime sessions."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import onnxruntime

from respin.contracts import NETWORKS
from respin.errors import InternalError
from respin.model_set import ModelSet, Sizes
from respin.specs import Array, ModelSpec
from respin_ensemble.networks import BatchedNetworks
from respin_ensemble.networks.onnx_cuda import CudaSession

ONE_BY_ONE = ("grounding_dino", "vae_encoder", "vae_decoder", "edsr")
"""Networks that fill the cores with one sample: several at a time are no faster, and each takes scratch memory, which
ONNX Runtime then keeps (docs/benchmarks.md, "On a CPU")."""

LARGE_BYTES = 8 * 2**20
"""Of weights, from which on any network fills the cores with one sample. At full size all have that, in the mini set
none."""

Call = Callable[[Mapping[str, Array]], dict[str, Array]]
"""One network: a batch in, its outputs by the contract's names."""


class CpuSession:
    """One network on the CPU, called by any number of threads.

    Args:
        path: its model.onnx.
        spec: its contract.
        threads: that one call may use; 0 = every core where one sample fills them (`ONE_BY_ONE`, `LARGE_BYTES`),
            elsewhere half of them: a job's two UNets work beside each other.
    """

    def __init__(self, path: Path, spec: ModelSpec, threads: int = 0) -> None:
        self._spec = spec
        self._one_by_one = spec.name in ONE_BY_ONE or _weights_bytes(path) >= LARGE_BYTES
        cores = len(os.sched_getaffinity(0))
        half = max(1, cores // 2)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or (cores if self._one_by_one else half)
        # Ten networks share the cores: a pool that spins while it waits starves the others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._turns: AbstractContextManager[object] = nullcontext()
        if self._one_by_one:
            self._turns = threading.BoundedSemaphore(half)

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch.

        Raises:
            InternalError: ONNX Runtime refused it.
        """
        names = [output.name for output in self._spec.outputs]
        try:
            with self._turns:
                answers = [self._session.run(names, part) for part in self._parts(arrays)]
        except Exception as error:  # ONNX Runtime's own errors have no base in common
            raise InternalError(f"{self._spec.name} failed: {error}") from error
        if len(answers) == 1:
            return dict(zip(names, answers[0], strict=True))
        return {name: np.concatenate(parts) for name, parts in zip(names, zip(*answers, strict=True), strict=True)}

    def _parts(self, arrays: Mapping[str, Array]) -> list[dict[str, Array]]:
        """What is run at a time."""
        if not self._one_by_one:
            return [dict(arrays)]
        count = len(next(iter(arrays.values())))
        return [{name: array[index : index + 1] for name, array in arrays.items()} for index in range(count)]


def _weights_bytes(path: Path) -> int:
    """Of a graph's file and of the one beside it that holds what a graph's has no room for."""
    beside = path.with_name(f"{path.name}.data")
    return sum(file.stat().st_size for file in (path, beside) if file.is_file())


class OnnxNetworks(BatchedNetworks):
    """The ten networks in this process."""

    def __init__(self, calls: Mapping[str, Call], sizes: Sizes) -> None:
        """Networks by name, each loaded."""
        super().__init__(sizes)
        self._calls = calls

    @classmethod
    def from_files(cls, files: Mapping[str, Path], sizes: Sizes, *, device: str = "cpu") -> OnnxNetworks:
        """Load each network from its file.

        Raises:
            InvalidInput: there is no such device.
        """
        if device == "cuda":
            return cls({name: CudaSession(path, NETWORKS[name]) for name, path in files.items()}, sizes)
        return cls({name: CpuSession(path, NETWORKS[name]) for name, path in files.items()}, sizes)

    @classmethod
    def from_set(cls, folder: Path, *, device: str = "cpu") -> OnnxNetworks:
        """Load the ten networks of a set's folder.

        Args:
            folder: of the set.
            device: "cpu" or "cuda".

        Raises:
            ContractMismatch: the folder is no set, or lacks a network.
            InvalidInput: there is no such device.
        """
        manifest = ModelSet.load(folder)
        files = {name: manifest.file(folder, spec) for name, spec in NETWORKS.items()}
        return cls.from_files(files, manifest.sizes, device=device)

    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        return self._calls[spec.name](arrays)
