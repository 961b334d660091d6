"""The ten networks in this process, run by OpenVINO on the CPU: what ONNX Runtime is measured beside."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from respin.contracts import NETWORKS
from respin.errors import InternalError
from respin.model_set import Sizes
from respin.specs import Array, ModelSpec
from respin_ensemble.networks import BatchedNetworks

COMPILATION = {
    # It takes bfloat16 by itself wherever the CPU has that.
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    # Ten networks share the cores: pools that are each tied to the same ones wait for one another.
    "ENABLE_CPU_PINNING": False,
}

MOST_SHAPES = 16
"""Of a network that stay compiled, each with its own copy of the weights; the one unused for longest goes first."""

Shapes = tuple[tuple[int, ...], ...]


class OpenVinoNetworks(BatchedNetworks):
    """The ten networks, each called by one thread at a time.

    Args:
        files: ONNX files by network.
        sizes: of their set.
    """

    def __init__(self, files: Mapping[str, Path], sizes: Sizes) -> None:
        super().__init__(sizes)
        core = _core()
        self._networks = {name: StaticNetwork(core, path, NETWORKS[name]) for name, path in files.items()}

    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        return self._networks[spec.name](arrays)


class StaticNetwork:
    """One network, compiled for each shape of its inputs when that first comes.

    Compiled once for all shapes, GroundingDINO gives other boxes (OpenVINO 2026.4.1).

    Args:
        core: of OpenVINO.
        path: its ONNX file.
        spec: its contract.

    Raises:
        InternalError: OpenVINO cannot read it.
    """

    def __init__(self, core: Any, path: Path, spec: ModelSpec) -> None:
        self._core, self._spec, self._lock = core, spec, threading.Lock()
        self._requests: dict[Shapes, Any] = {}
        try:
            self._model = core.read_model(path)
        except Exception as error:  # OpenVINO's own errors have no base but RuntimeError
            raise InternalError(f"{spec.name} could not be read by OpenVINO: {error}") from error

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch.

        Raises:
            InternalError: OpenVINO refused it.
        """
        shapes = tuple(arrays[tensor.name].shape for tensor in self._spec.inputs)
        with self._lock:
            try:
                outputs = self._request(shapes).infer(dict(arrays), share_inputs=True)
                return {tensor.name: outputs[tensor.name] for tensor in self._spec.outputs}
            except Exception as error:  # see above
                raise InternalError(f"{self._spec.name} failed: {error}") from error

    def _request(self, shapes: Shapes) -> Any:
        request = self._requests.pop(shapes, None)
        if request is None:
            model = self._model.clone()
            names = [tensor.name for tensor in self._spec.inputs]
            model.reshape({name: list(shape) for name, shape in zip(names, shapes, strict=True)})
            request = self._core.compile_model(model, "CPU", COMPILATION).create_infer_request()
            if len(self._requests) == MOST_SHAPES:
                del self._requests[next(iter(self._requests))]
        self._requests[shapes] = request  # last in the order of use
        return request


def _core() -> Any:
    """OpenVINO, which is an extra and slow to import, without its telemetry.

    That would report the import to Google Analytics, and keep an id of the user in their home folder.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # "not installed": OpenVINO goes on
    return importlib.import_module("openvino").Core()
