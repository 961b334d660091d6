"""Networks in this process, as ONNX Runtime sessions."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from respin.contracts import NETWORKS
from respin.errors import InternalError
from respin.model_set import ModelSet, Sizes
from respin.onnx_runtime import onnxruntime
from respin.specs import Array, ModelSpec
from respin_ensemble.networks import BatchedNetworks, NetworkCall
from respin_ensemble.networks.gate import GPU
from respin_ensemble.networks.in_process import ReportLoading, Source
from respin_ensemble.networks.onnx_cuda import CudaSession
from respin_ensemble.networks.unguided import takes_fewer_guidance, without_guidance

LARGE_BYTES = 4 * 2**20
"""Size of the weights from which one sample keeps all cores busy. All networks exceed it at full size, none in the mini
set."""


class CpuSession:
    """One network on the CPU, called by any number of threads.

    Args:
        path: path of model.onnx.
        spec: contract of the network.
        threads: threads per call; 0 = all cores if one sample keeps them busy (see `is_one_by_one`), else half of them,
            because the two UNets of a job run at the same time.
        cores: number of cores to use; None = all that this process may use.
    """

    def __init__(self, path: Path, spec: ModelSpec, threads: int = 0, cores: int | None = None) -> None:
        self._spec, self._one_by_one = spec, is_one_by_one(path, spec)
        cores = cores or len(os.sched_getaffinity(0))
        half = max(1, cores // 2)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or (cores if self._one_by_one else half)
        # Ten networks share the cores: a thread pool that spins while it waits starves the others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # With a memory plan, calls take one block as large as all tensors of a shape, beside the smaller ones of the
        # first call. ONNX Runtime keeps both: up to twice the scratch memory, at the same speed.
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._may_be_unguided = takes_fewer_guidance(self._session)
        self._turns: AbstractContextManager[object] = nullcontext()
        if self._one_by_one:
            self._turns = threading.BoundedSemaphore(half)

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch.

        Raises:
            InternalError: ONNX Runtime failed.
        """
        names = [output.name for output in self._spec.outputs]
        try:
            with self._turns:
                answers = [self._session.run(names, part) for part in self._parts(arrays)]
        except Exception as error:  # ONNX Runtime's errors have no common base class
            raise InternalError(f"{self._spec.name} failed: {error}") from error
        if len(answers) == 1:
            return dict(zip(names, answers[0], strict=True))
        return {name: np.concatenate(parts) for name, parts in zip(names, zip(*answers, strict=True), strict=True)}

    def close(self) -> None:
        """Free the session's memory; it must not be called again."""
        del self._session

    def _parts(self, arrays: Mapping[str, Array]) -> list[dict[str, Array]]:
        """Return the parts of a batch that run one after another."""
        parts = [dict(arrays)]
        if self._one_by_one:
            count = len(next(iter(arrays.values())))
            parts = [{name: array[index : index + 1] for name, array in arrays.items()} for index in range(count)]
        return [dict(without_guidance(part)) for part in parts] if self._may_be_unguided else parts


def is_one_by_one(path: Path, spec: ModelSpec) -> bool:
    """Return whether a network runs one sample at a time on the CPU, because one keeps all cores busy.

    Larger batches would not be faster, and each sample takes scratch memory, which ONNX Runtime does not release.

    Args:
        path: path of model.onnx; external weights are in a file beside it.
        spec: contract of the network.
    """
    beside = path.with_name(f"{path.name}.data")
    weights_bytes = sum(file.stat().st_size for file in (path, beside) if file.is_file())
    return spec.max_batch_size == 1 or weights_bytes >= LARGE_BYTES


class PagedSession:
    """A session that is dropped and opened again from its file: see `respin_ensemble.networks.residency`.

    Args:
        open_session: opens it.
    """

    def __init__(self, open_session: Callable[[], CpuSession | CudaSession]) -> None:
        self._open = open_session
        self._session: CpuSession | CudaSession | None = None

    def load(self) -> None:
        """Open the session."""
        with GPU.call():
            self._session = self._open()

    def unload(self) -> None:
        """Drop the session."""
        session, self._session = self._session, None
        if session is not None:
            with GPU.call():
                session.close()

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch; the session must be loaded."""
        assert self._session is not None
        return self._session(arrays)


class OnnxNetworks(BatchedNetworks):
    """The ten networks in this process."""

    def __init__(self, calls: Mapping[str, NetworkCall], sizes: Sizes) -> None:
        """Make networks from functions that run them, by name."""
        super().__init__(sizes)
        self._calls = calls
        self.pageables = {name: call for name, call in calls.items() if isinstance(call, PagedSession)}

    @classmethod
    def from_files(
        cls,
        files: Mapping[str, Path],
        sizes: Sizes,
        *,
        device: str = "cpu",
        report: ReportLoading | None = None,
        paged: Collection[str] = (),
    ) -> OnnxNetworks:
        """Load each network from its file.

        Args:
            files: path of each network's model.onnx, by name.
            sizes: image sizes of the set.
            device: "cpu" or "cuda".
            report: receives the name of each network before it is loaded.
            paged: names of those that share memory: they are loaded later.

        Raises:
            InvalidInput: the device is not available.
        """
        calls: dict[str, NetworkCall] = {}
        for name, path in files.items():
            if name in paged:
                calls[name] = PagedSession(partial(_open, path, NETWORKS[name], device, graphs=False))
                continue
            if report is not None:
                report(f"loading {name} ({len(calls) + 1} of {len(files)})")
            calls[name] = _open(path, NETWORKS[name], device)
        return cls(calls, sizes)

    @classmethod
    def from_set(cls, folder: Path, *, device: str = "cpu") -> OnnxNetworks:
        """Load the ten networks of a set.

        Args:
            folder: folder of the set.
            device: "cpu" or "cuda".

        Raises:
            ContractMismatch: the folder is not a set, or lacks a network.
            InvalidInput: the device is not available.
        """
        manifest = ModelSet.load(folder)
        files = {name: manifest.file(folder, spec) for name, spec in NETWORKS.items()}
        return cls.from_files(files, manifest.sizes, device=device)

    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        return self._calls[spec.name](arrays)


def load_in_process(source: Source, report: ReportLoading) -> OnnxNetworks:
    """Load the networks of the engine: see `respin_ensemble.networks.in_process`."""
    sizes, device = source.model_set.sizes, source.choice.device
    return OnnxNetworks.from_files(source.files(), sizes, device=device, report=report, paged=source.paged)


def _open(path: Path, spec: ModelSpec, device: str, *, graphs: bool = True) -> CpuSession | CudaSession:
    return CudaSession(path, spec, graphs=graphs) if device == "cuda" else CpuSession(path, spec)
