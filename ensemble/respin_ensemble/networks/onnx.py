"""Networks in this process, as ONNX Runtime sessions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnxruntime

from respin.contracts import NETWORKS
from respin.errors import InternalError
from respin.model_set import ModelSet, Sizes
from respin.specs import Array, ModelSpec
from respin_ensemble.networks import BatchedNetworks


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


class OnnxNetworks(BatchedNetworks):
    """The ten networks in this process."""

    def __init__(self, sessions: Mapping[str, onnxruntime.InferenceSession], sizes: Sizes) -> None:
        """Networks by name, each a loaded session."""
        super().__init__(sizes)
        self._sessions = sessions

    @classmethod
    def from_files(cls, files: Mapping[str, Path], sizes: Sizes) -> OnnxNetworks:
        """Load each network from its file."""
        return cls({name: open_session(path) for name, path in files.items()}, sizes)

    @classmethod
    def from_set(cls, folder: Path) -> OnnxNetworks:
        """Load the ten networks of a set's folder.

        Raises:
            ContractMismatch: the folder is no set, or lacks a network.
        """
        manifest = ModelSet.load(folder)
        return cls.from_files({name: manifest.file(folder, spec) for name, spec in NETWORKS.items()}, manifest.sizes)

    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        return run_session(self._sessions[spec.name], spec, arrays)
