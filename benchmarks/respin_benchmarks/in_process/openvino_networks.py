"""The ten networks in this process, run by OpenVINO on the CPU: what ONNX Runtime is measured beside."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from respin.contracts import NETWORKS
from respin.errors import InternalError
from respin.model_set import Sizes
from respin.specs import Array, ModelSpec
from respin_benchmarks.in_process.by_shape import ByShape, Shape
from respin_ensemble.networks import BatchedNetworks, NetworkCall

COMPILATION = {
    # It takes bfloat16 by itself wherever the CPU has that.
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    # Ten networks share the cores: pools that are each tied to the same ones wait for one another.
    "ENABLE_CPU_PINNING": False,
}


class OpenVinoNetworks(BatchedNetworks):
    """The ten networks, each called by one thread at a time.

    Args:
        files: ONNX files by network.
        sizes: of their set.
    """

    def __init__(self, files: Mapping[str, Path], sizes: Sizes) -> None:
        super().__init__(sizes)
        core = _core()
        self._networks = {name: _by_shape(core, path, NETWORKS[name]) for name, path in files.items()}

    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        try:
            return self._networks[spec.name](arrays)
        except Exception as error:  # see below
            raise InternalError(f"{spec.name} failed: {error}") from error


def _by_shape(core: Any, path: Path, spec: ModelSpec) -> ByShape:
    """A network that is compiled for each shape of its inputs.

    Compiled once for all shapes, GroundingDINO gives other boxes (OpenVINO 2026.4.1).

    Raises:
        InternalError: OpenVINO cannot read it.
    """
    try:
        read = core.read_model(path)
    except Exception as error:  # OpenVINO's own errors have no base but RuntimeError
        raise InternalError(f"{spec.name} could not be read by OpenVINO: {error}") from error

    def prepared(shapes: Mapping[str, Shape]) -> NetworkCall:
        model = read.clone()
        model.reshape({name: list(shape) for name, shape in shapes.items()})
        request = core.compile_model(model, "CPU", COMPILATION).create_infer_request()

        def call(arrays: Mapping[str, Array]) -> dict[str, Array]:
            outputs = request.infer(dict(arrays), share_inputs=True)
            return {tensor.name: outputs[tensor.name] for tensor in spec.outputs}

        return call

    return ByShape(spec, prepared)


def _core() -> Any:
    """OpenVINO, which is an extra and slow to import, without its telemetry.

    That would report the import to Google Analytics, and keep an id of the user in their home folder.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # "not installed": OpenVINO goes on
    return importlib.import_module("openvino").Core()
