"""What can run the ten networks in this process."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

from respin.bundled import bundled
from respin.contracts import NETWORKS
from respin.errors import InvalidInput, RespinError
from respin.model_set import ModelSet
from respin.onnx_runtime import onnxruntime
from respin_benchmarks.in_process.precompile import precompile
from respin_benchmarks.in_process.resume import OutOfTime
from respin_benchmarks.in_process.torch_networks import Execution, TorchNetworks
from respin_benchmarks.in_process.weights import Weights
from respin_ensemble.networks import BatchedNetworks
from respin_ensemble.networks.onnx import OnnxNetworks
from respin_export.export_set import Kept, Plan, export_set
from respin_export.isolated import Done, Event
from respin_export.published import PublishedWeights
from respin_export.tensorrt.builder import Report
from respin_export.tensorrt.engine_module import EngineModule
from respin_export.tensorrt.engine_set import EngineOptions, build_engines
from respin_export.tensorrt.flavours import Library, device_capability, target_capabilities

COMPILED = "torch compiled"
TORCH: dict[str, Execution] = {"torch eager": "eager", "torch graphs": "graphs", COMPILED: "compiled"}
ONNX = "onnxruntime"
TENSORRT = "tensorrt"
"""Engines of the flavour that is installed; PyTorch's CUDA graphs replay them."""
RUNTIMES = (*TORCH, ONNX, TENSORRT)

Tell = Callable[[str], None]


def default_runtimes(device: str) -> list[str]:
    """Those that are worth measuring here and installed."""
    if device == "cpu":
        return ["torch eager", ONNX]
    others = {ONNX: has_cuda_provider, TENSORRT: has_tensorrt}
    return ["torch graphs", COMPILED, *(runtime for runtime, is_there in others.items() if is_there())]


def has_cuda_provider() -> bool:
    """Whether ONNX Runtime was built for CUDA."""
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def has_tensorrt() -> bool:
    """Whether some flavour of TensorRT is installed, loads, and builds for this GPU."""
    try:
        return bool(_tensorrt())
    except RespinError:
        return False


def _tensorrt() -> tuple[Library, tuple[str, ...]]:
    """The TensorRT of this environment, and what it is to build for: this GPU.

    Raises:
        RespinError: there is none, or it cannot.
    """
    library, device = Library.installed(), device_capability()
    return library, target_capabilities(library, [device] if device else [], device)


def open_networks(
    runtime: str,
    weights: Weights,
    *,
    device: str,
    half: bool,
    work: Path,
    jobs: int,
    tell: Tell,
    names: Sequence[str] = tuple(NETWORKS),
    time_is_up: Callable[[], bool] = lambda: False,
) -> BatchedNetworks:
    """Load networks.

    Args:
        runtime: of `RUNTIMES`.
        weights: to run.
        device: "cpu" or "cuda".
        half: in float16.
        work: folder for exported graphs and engines; those that are there already are kept.
        jobs: exports at a time.
        tell: shown what happens.
        names: of the networks.
        time_is_up: asked after each export, engine or compilation; one of a large network takes minutes.

    Raises:
        InvalidInput: the runtime is unknown, or cannot run these weights.
        OutOfTime: exports, engines or compilations are left to be made.
    """
    _refuse(runtime, device)
    if runtime in TORCH:
        if runtime == COMPILED and device == "cuda":
            precompile(weights, half=half, jobs=jobs, notes=work / "compiled", tell=tell, time_is_up=time_is_up)
        return TorchNetworks.load(weights, device=device, half=half, execution=TORCH[runtime], names=names)
    folder = _exported(weights, names, half=half, work=work, jobs=jobs, tell=tell, time_is_up=time_is_up)
    if runtime == TENSORRT:
        return _of_engines(_engines(folder, names, work, tell, time_is_up), names)
    manifest = ModelSet.load(folder)
    files = {name: manifest.file(folder, NETWORKS[name]) for name in names}
    return OnnxNetworks.from_files(files, manifest.sizes, device=device)


def _refuse(runtime: str, device: str) -> None:
    """Refuse what cannot run here, before anything is loaded."""
    if runtime not in RUNTIMES:
        raise InvalidInput(f"runtime is '{runtime}', one of {', '.join(RUNTIMES)} is wanted")
    if runtime == COMPILED and importlib.util.find_spec("triton") is None:
        raise InvalidInput(f"'{COMPILED}' needs the package triton, which CUDA builds of torch bring")
    if runtime == TENSORRT and device != "cuda":
        raise InvalidInput("'tensorrt' runs on an NVIDIA GPU alone; use --device cuda")
    if runtime == TENSORRT:
        _tensorrt()


def _exported(
    weights: Weights,
    names: Sequence[str],
    *,
    half: bool,
    work: Path,
    jobs: int,
    tell: Tell,
    time_is_up: Callable[[], bool],
) -> Path:
    """The folder of the set that these weights make."""
    if not isinstance(weights, PublishedWeights):
        return bundled("models/mini")
    there: set[str] = set()

    def told(event: Event | Kept) -> None:
        if isinstance(event, Done | Kept):
            there.add(event.name)
        if isinstance(event, Done):
            tell(f"exported {event.name}")
            if len(there) < len(names) and time_is_up():
                raise OutOfTime(f"time is up with {len(there)} of {len(names)} exports; run the same command again")

    precision = "fp16" if half else "fp32"
    # With random weights of the published depth GroundingDINO ranks by noise (docs/parity.md): told, not refused.
    options = {"precision": precision, "gated": False}
    plan = Plan(work / precision, f"bench-{precision}", weights.sizes, names, weights, options, jobs)
    failed = export_set(plan, told)
    if failed:
        raise InvalidInput(f"{failed[0].name} could not be exported: {failed[0].error}")
    return plan.folder


def _engines(graphs: Path, names: Sequence[str], work: Path, tell: Tell, time_is_up: Callable[[], bool]) -> Path:
    """The folder of the engines of these graphs, for this GPU; each is built once."""

    def begun(name: str) -> Report:
        tell(f"building the engine of {name}")
        return lambda *_: None

    library, capabilities = _tensorrt()
    # An engine is built for one TensorRT and one GPU: the folder of another's would be refused.
    folder = work / "-".join([graphs.name, library.flavour, library.version, *capabilities])
    for place, name in enumerate(names):
        report = build_engines(graphs, folder, EngineOptions(library, capabilities), networks=[name], progress=begun)
        if name in report.failed:
            raise InvalidInput(f"the engine of {name} could not be built: {report.failed[name]}")
        if report.built and names[place + 1 :] and time_is_up():
            raise OutOfTime(f"time is up with {place + 1} of {len(names)} engines built; run the same command again")
    return folder


def _of_engines(folder: Path, names: Sequence[str]) -> BatchedNetworks:
    """Networks that are loaded from engines."""
    manifest, trt = ModelSet.load(folder), importlib.import_module(Library.installed().flavour)
    modules = {name: EngineModule(trt, manifest.file(folder, NETWORKS[name]), NETWORKS[name]) for name in names}
    return TorchNetworks(modules, manifest.sizes, device="cuda", execution="graphs")
