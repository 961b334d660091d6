"""The runtimes of `respin_ensemble.networks` on weights that are measured: exported, built and compiled first."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from respin.bundled import bundled
from respin.contracts import NETWORKS
from respin.errors import InternalError, InvalidInput, RespinError
from respin.model_set import ModelSet
from respin.onnx_runtime import onnxruntime
from respin.specs import Array
from respin_benchmarks.in_process.example_inputs import usual_inputs
from respin_benchmarks.in_process.weights import Weights
from respin_ensemble.networks import BatchedNetworks
from respin_ensemble.networks.onnx import OnnxNetworks
from respin_ensemble.networks.tensorrt import TensorRtNetworks
from respin_ensemble.networks.torch_compile import CompileTask, compile_ahead, compile_tasks
from respin_ensemble.networks.torch_networks import Execution, TorchNetworks
from respin_export.export_set import ExportPlan, UpToDate, export_set
from respin_export.inference_modules import InferenceModules
from respin_export.isolated import TaskDone, TaskEvent, TaskFailed, run_isolated
from respin_export.published import PublishedWeights
from respin_export.tensorrt.builder import ReportPhase
from respin_export.tensorrt.engine_set import EngineOptions, build_engines
from respin_export.tensorrt.flavours import Library, device_capability, target_capabilities

COMPILED = "torch compiled"
TORCH: dict[str, Execution] = {"torch eager": "eager", "torch graphs": "graphs", COMPILED: "compiled"}
ONNX, TENSORRT = "onnxruntime", "tensorrt"
RUNTIMES = (*TORCH, ONNX, TENSORRT)


class OutOfTime(RespinError):
    """Something that a measurement needs is not finished yet; what is finished is kept."""


def default_runtimes(device: str) -> list[str]:
    """Return the runtimes that are installed and worth measuring on a device."""
    if device == "cpu":
        return ["torch eager", ONNX]
    others = {ONNX: has_cuda_provider, TENSORRT: has_tensorrt}
    return ["torch graphs", COMPILED, *(runtime for runtime, is_there in others.items() if is_there())]


def has_cuda_provider() -> bool:
    """Return whether ONNX Runtime was built for CUDA."""
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def has_tensorrt() -> bool:
    """Return whether a flavour of TensorRT is installed, loads, and builds for this GPU."""
    try:
        return bool(_tensorrt())
    except RespinError:
        return False


def _tensorrt() -> tuple[Library, tuple[str, ...]]:
    """Return the installed TensorRT and what it is to build for, this GPU; raise RespinError if it cannot."""
    library, device = Library.installed(), device_capability()
    return library, target_capabilities(library, [device] if device else [], device)


@dataclass(frozen=True)
class RuntimeLoader:
    """Loads networks of one set of weights by any runtime."""

    weights: Weights  # to run
    device: str  # "cpu" or "cuda"
    half: bool  # in float16
    work: Path  # folder for exported graphs and engine plans; those that are there are kept
    jobs: int = 1  # exports and compilations at a time
    tell: Callable[[str], None] = print  # called with what happens
    # asked after each export, engine plan or compilation; one of a large network takes minutes
    time_is_up: Callable[[], bool] = lambda: False

    def load(self, runtime: str, names: Sequence[str] = tuple(NETWORKS)) -> BatchedNetworks:
        """Load networks, by name.

        Raises:
            InvalidInput: the runtime is unknown, or cannot run these weights.
            OutOfTime: exports, engine plans or compilations are left to be made.
        """
        self._check(runtime)
        if runtime in TORCH:
            modules = InferenceModules(self.weights, self.device, self.half)
            if runtime == COMPILED and self.device == "cuda":
                self._compile(modules)
            execution = TORCH[runtime]
            return TorchNetworks.load(modules, self.weights.sizes, device=self.device, execution=execution, names=names)
        folder = self._exported(names)
        if runtime == TENSORRT:
            return TensorRtNetworks.from_set(self._engines(folder, names), device=self.device, names=names)
        manifest = ModelSet.load(folder)
        files = {name: manifest.file(folder, NETWORKS[name]) for name in names}
        return OnnxNetworks.from_files(files, manifest.sizes, device=self.device)

    def _check(self, runtime: str) -> None:
        """Refuse what cannot run here, before anything is loaded."""
        if runtime not in RUNTIMES:
            raise InvalidInput(f"runtime is '{runtime}'; choose of {', '.join(RUNTIMES)}")
        if runtime == COMPILED and importlib.util.find_spec("triton") is None:
            raise InvalidInput(f"'{COMPILED}' needs the package triton, which CUDA builds of torch bring")
        if runtime == TENSORRT and self.device != "cuda":
            raise InvalidInput("'tensorrt' runs on an NVIDIA GPU alone; use --device cuda")
        if runtime == TENSORRT:
            _tensorrt()

    def _stop_if_time_is_up(self, done: int, total: int, what: str) -> None:
        if done < total and self.time_is_up():
            raise OutOfTime(f"time is up with {done} of {total} {what}; run the same command again")

    def _compile(self, modules: InferenceModules) -> None:
        tasks = compile_tasks(modules, self.weights.sizes, partial(_example_inputs, self.weights))
        for name, left in compile_ahead(tasks, self._run_isolated, self.work / "compiled"):
            self.tell(f"compiled {name}")
            self._stop_if_time_is_up(len(tasks) - left, len(tasks), "compiled")

    def _run_isolated(self, tasks: Mapping[str, CompileTask]) -> Iterator[str]:
        for event in run_isolated(tasks, self.jobs):
            if isinstance(event, TaskFailed):
                raise InternalError(f"{event.name} could not be compiled: {event.error}")
            if isinstance(event, TaskDone):
                yield event.name

    def _exported(self, names: Sequence[str]) -> Path:
        """Return the folder of the ONNX set that these weights make."""
        if not isinstance(self.weights, PublishedWeights):
            return bundled("models/mini")
        there: set[str] = set()

        def on_event(event: TaskEvent | UpToDate) -> None:
            if isinstance(event, TaskDone | UpToDate):
                there.add(event.name)
            if isinstance(event, TaskDone):
                self.tell(f"exported {event.name}")
                self._stop_if_time_is_up(len(there), len(names), "exports")

        precision = "fp16" if self.half else "fp32"
        # GroundingDINO of published depth with random weights ranks by noise (docs/parity.md): reported, not refused.
        options = {"precision": precision, "gated": False}
        name = f"bench-{precision}"
        plan = ExportPlan(self.work / precision, name, self.weights.sizes, names, self.weights, options, self.jobs)
        if failed := export_set(plan, on_event):
            raise InvalidInput(f"{failed[0].name} could not be exported: {failed[0].error}")
        return plan.folder

    def _engines(self, graphs: Path, names: Sequence[str]) -> Path:
        """Return the folder of the engine plans of these graphs, for this GPU; each is built once."""

        def on_begin(name: str) -> ReportPhase:
            self.tell(f"building the engine of {name}")
            return lambda *_: None

        library, capabilities = _tensorrt()
        # A plan is built for one TensorRT and one GPU: the folder of another would be refused.
        folder = self.work / "-".join([graphs.name, library.flavour, library.version, *capabilities])
        options = EngineOptions(library, capabilities)
        for place, name in enumerate(names, 1):
            report = build_engines(graphs, folder, options, networks=[name], progress=on_begin)
            if name in report.failed:
                raise InvalidInput(f"the engine of {name} could not be built: {report.failed[name]}")
            if report.built:
                self._stop_if_time_is_up(place, len(names), "engines built")
        return folder


def _example_inputs(weights: Weights, name: str, batch: int, lengths: Mapping[str, int]) -> dict[str, Array]:
    return usual_inputs(NETWORKS[name], weights.sizes, batch, lengths)
