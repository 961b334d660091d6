"""ONNX Runtime on an NVIDIA GPU, with bound memory and a CUDA graph for each shape that repeats."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np

from respin.errors import InternalError, InvalidInput
from respin.onnx_runtime import onnxruntime
from respin.specs import Array, ModelSpec
from respin_ensemble.networks.call_inputs import CallInputs, Slot
from respin_ensemble.networks.gate import GPU
from respin_ensemble.networks.unguided import takes_fewer_guidance, without_guidance

PROVIDER = "CUDAExecutionProvider"

MOST_GRAPHS = 16
"""Limit on the graphs of one network: each holds its own inputs and outputs on the GPU."""

NO_GRAPH = -1
"""Graph id that disables graphs."""

CAPTURING = 3
"""First calls of a new graph, in which ONNX Runtime selects kernels, captures and replays; no other call may run."""

Shapes = tuple[tuple[int, ...], ...]


class CudaSession:
    """One network on the GPU; calls from any number of threads run one after another.

    ONNX Runtime keeps graphs, and cuBLAS and cuDNN handles, for each thread that has ever called a session. With the
    short-lived threads of jobs, it would capture graphs at any time and fill the GPU. So each network has one thread.

    Args:
        path: path of model.onnx.
        spec: contract of the network.
        graphs: whether calls become CUDA graphs; not worth it for a session that is closed soon.

    Raises:
        InvalidInput: ONNX Runtime cannot use a GPU here.
    """

    def __init__(self, path: Path, spec: ModelSpec, *, graphs: bool = True) -> None:
        require_cuda()
        self._spec, self._thread = spec, ThreadPoolExecutor(1, thread_name_prefix=spec.name)
        self.uncaptured = "" if graphs else "it shares its memory"
        """Why the network runs without graphs; empty if it does not."""
        try:
            self._session = _open_session(path, graphs=graphs)
        except Exception as error:  # a node that CUDA lacks fails the session with a generic error
            self.uncaptured = str(error).partition("\n")[0]
            self._session = _open_session(path, graphs=False)
        if self._session.get_providers()[0] != PROVIDER:
            raise InvalidInput("ONNX Runtime could not load CUDA or cuDNN; install the libraries of its CUDA version")
        self._may_be_unguided = takes_fewer_guidance(self._session)
        self._seen: dict[Shapes, list[tuple[int, ...]]] = {}
        self._bound: dict[Shapes, BoundCall] = {}

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch.

        Raises:
            InternalError: ONNX Runtime failed.
        """
        given = without_guidance(arrays) if self._may_be_unguided else arrays
        return self._thread.submit(self._run, given).result()

    def close(self) -> None:
        """Free the session's memory, and end its thread; it must not be called again."""
        self._thread.shutdown()
        self._bound.clear()
        del self._session

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        shapes = tuple(array.shape for array in arrays.values())
        with self._turn(shapes):
            try:
                if shapes in self._seen and shapes not in self._bound and len(self._bound) < MOST_GRAPHS:
                    number = NO_GRAPH if self.uncaptured else len(self._bound)
                    self._bound[shapes] = BoundCall(self._session, self._spec, arrays, self._seen[shapes], number)
                if shapes in self._bound:
                    return self._bound[shapes](arrays)
                return self._unbound(shapes, arrays)
            except Exception as error:  # ONNX Runtime's errors have no common base class
                return self._without_graph(shapes, arrays, error)

    def _without_graph(self, shapes: Shapes, arrays: Mapping[str, Array], error: Exception) -> dict[str, Array]:
        """Run again without graphs: a failed capture disables them for this network, but does not fail the job."""
        if self.uncaptured or shapes not in self._bound:
            raise InternalError(f"{self._spec.name} failed: {error}") from error
        self.uncaptured = str(error).partition("\n")[0]
        self._bound.pop(shapes)
        try:
            return self._unbound(shapes, arrays)
        except Exception as again:
            raise InternalError(f"{self._spec.name} failed: {again}") from again

    def _turn(self, shapes: Shapes) -> AbstractContextManager[None]:
        """Return the lock for a call: shared with other networks, or exclusive if this call may be captured."""
        bound = self._bound.get(shapes)
        captured = bound.calls >= CAPTURING if bound else shapes not in self._seen
        return GPU.call() if self.uncaptured or captured else GPU.capture()

    def _unbound(self, shapes: Shapes, arrays: Mapping[str, Array]) -> dict[str, Array]:
        names = [output.name for output in self._spec.outputs]
        outputs = self._session.run(names, dict(arrays), _run_options(NO_GRAPH))
        self._seen[shapes] = [output.shape for output in outputs]
        return dict(zip(names, outputs, strict=True))


class OrtBlock:
    """Bytes in the machine's memory, and as many on the device: see `call_inputs.Block`.

    ONNX Runtime offers no pinned memory to Python, so the copy has ended when `send` returns.

    Args:
        nbytes: their number.
        device: "cpu" or "cuda".
        values: the class of the value on the device.
    """

    def __init__(self, nbytes: int, device: str, values: type[onnxruntime.OrtValue]) -> None:
        self.host = np.zeros(nbytes, np.uint8)
        self._value = values.ortvalue_from_shape_and_type([nbytes], np.uint8, device, 0)

    def send(self) -> None:
        """Copy the bytes to the device."""
        self._value.update_inplace(self.host)

    def address(self, slot: Slot) -> int:
        """Return the address of an input of this block, on the device."""
        return int(self._value.data_ptr()) + slot.offset


class BoundCall:
    """Inputs and outputs of one shape on the device, with the id of their graph.

    Args:
        session: the network.
        spec: its contract.
        arrays: inputs of the shape.
        outputs: shapes of its outputs.
        graph: id of the graph; `NO_GRAPH` = none.
        device: "cpu" or "cuda".
        values: the class of values on the device; None = ONNX Runtime's.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        spec: ModelSpec,
        arrays: Mapping[str, Array],
        outputs: list[tuple[int, ...]],
        graph: int = NO_GRAPH,
        *,
        device: str = "cuda",
        values: type[onnxruntime.OrtValue] | None = None,
    ) -> None:
        values = values or onnxruntime.OrtValue
        self.calls = 0
        self._session, self._options, self._binding = session, _run_options(graph), session.io_binding()
        self._inputs = CallInputs(arrays, partial(OrtBlock, device=device, values=values))
        for part in self._inputs.parts:
            for name, slot in part.slots.items():
                self._binding.bind_input(name, device, 0, slot.dtype, list(slot.shape), part.block.address(slot))
        self._outputs = {
            tensor.name: values.ortvalue_from_shape_and_type(list(shape), tensor.dtype.numpy, device, 0)
            for tensor, shape in zip(spec.outputs, outputs, strict=True)
        }
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run it on these inputs; ONNX Runtime waits once, at the end of the run."""
        self.calls += 1
        try:
            self._inputs.send(arrays)
            self._session.run_with_iobinding(self._binding, self._options)
            return {name: value.numpy() for name, value in self._outputs.items()}
        except BaseException:
            self._inputs.forget()
            raise


def require_cuda() -> None:
    """Check that ONNX Runtime was built with CUDA.

    Raises:
        InvalidInput: it was not.
    """
    if PROVIDER not in onnxruntime.get_available_providers():
        raise InvalidInput(
            "device 'cuda' is asked for and this ONNX Runtime was built without CUDA; "
            "pip uninstall onnxruntime, then pip install 'respin[serve-gpu]'"
        )


def _open_session(path: Path, *, graphs: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    cuda = {
        # The default, doubling, may allocate twice the memory needed.
        "arena_extend_strategy": "kSameAsRequested",
        "enable_cuda_graph": "1" if graphs else "0",
    }
    return onnxruntime.InferenceSession(path, options, providers=[(PROVIDER, cuda), "CPUExecutionProvider"])


def _run_options(number: int) -> onnxruntime.RunOptions:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(number))
    return options
