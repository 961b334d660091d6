"""Networks in this process, as ONNX Runtime sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import onnxruntime

from respin.contracts import NETWORKS
from respin.errors import InternalError
from respin.model_set import ModelSet, Sizes
from respin.specs import Array, ModelSpec
from respin_ensemble.networks import BatchedNetworks
from respin_ensemble.networks.onnx_cuda import CudaSession


def open_session(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """Load a network for the CPU.

    Args:
        path: its model.onnx.
        threads: that one call may use; 0 = one a core.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Ten networks share the cores: a pool that spins while it waits starves the others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_session(
    session: onnxruntime.InferenceSession, spec: ModelSpec, arrays: Mapping[str, Array]
) -> dict[str, Array]:
    """Run one batch; the outputs by the contract's names.

    Raises:
        InternalError: ONNX Runtime refused the batch.
    """
    names = [output.name for output in spec.outputs]
    try:
        return dict(zip(names, session.run(names, dict(arrays)), strict=True))
    except Exception as error:  # ONNX Runtime's own errors have no base in common
        raise InternalError(f"{spec.name} failed: {error}") from error


Call = Callable[[Mapping[str, Array]], dict[str, Array]]
"""One network: a batch in, its outputs by the contract's names."""


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
        sessions = {name: open_session(path) for name, path in files.items()}
        return cls({name: partial(run_session, session, NETWORKS[name]) for name, session in sessions.items()}, sizes)

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
