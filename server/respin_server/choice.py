"""Choose the runtime of the profile `local` by what this machine and the set have, before anything is loaded."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from respin.bundled import bundled_path
from respin.errors import InvalidInput
from respin.gpu_memory import sharing_within
from respin.limits import DEFAULT_LIMITS
from respin.model_set import ModelSet, mapping_of
from respin.runtimes import DEVICES, MODULES, RUNTIMES, Device, InProcess
from respin_server.gpu_budget import memory_sentence

AUTO = "auto"

FASTEST_FIRST: Mapping[Device, tuple[str, ...]] = {
    "cuda": ("tensorrt", "torch", "onnxruntime"),
    "cpu": ("onnxruntime", "torch"),
}
"""Order in which `auto` takes a runtime. The CPU's is measured (docs/benchmarks.md); of the GPU's only PyTorch is."""

_GPU_DEVICE = Path("/dev/nvidiactl")


@dataclass(frozen=True)
class Installed:
    """What this machine has for the runtimes, found without importing any of it.

    Args:
        gpu: whether there is an NVIDIA GPU with a driver.
        onnx_cuda: whether ONNX Runtime was built with CUDA.
        torch: whether PyTorch, and what its modules need, is installed.
        torch_cuda: whether PyTorch was built with CUDA.
        tensorrt: the flavours of TensorRT that are installed.
    """

    gpu: bool
    onnx_cuda: bool
    torch: bool
    torch_cuda: bool
    tensorrt: tuple[str, ...]

    @classmethod
    def detect(cls) -> Installed:
        """Find out what this machine has."""
        return cls(
            gpu=_GPU_DEVICE.exists(),
            onnx_cuda=_has_file("onnxruntime", "capi/libonnxruntime_providers_cuda.so"),
            torch=all(map(_is_installed, ("torch", "diffusers", "transformers", "safetensors"))),
            torch_cuda=_has_file("torch", "lib/libtorch_cuda.so"),
            tensorrt=tuple(filter(_is_installed, ("tensorrt", "tensorrt_rtx"))),
        )


@dataclass(frozen=True)
class Wanted:
    """What an operator asks for; None = it is left to Respin.

    Args:
        device: "cpu" or "cuda".
        runtime: a name of `respin.runtimes.RUNTIMES`, or "auto".
        weights: folder of the checkpoints that PyTorch's modules are made of.
        gpu_memory_mib: limit on the GPU memory of the engine, MiB.
        compiled: whether torch.compile's code runs where it pays; None = on a GPU.
    """

    device: str | None = None
    runtime: str | None = None
    weights: Path | None = None
    gpu_memory_mib: int | None = None
    compiled: bool | None = None

    @property
    def is_default(self) -> bool:
        """Whether nothing is asked for."""
        return self == Wanted()


@dataclass(frozen=True)
class Choice:
    """The runtime that was chosen.

    Args:
        in_process: the choice, for the engine.
        folder: folder of the set, or of the checkpoints.
        model_set: manifest of what the runtime makes of the folder.
        sentence: the choice in words.
    """

    in_process: InProcess
    folder: Path
    model_set: ModelSet
    sentence: str


def choose(wanted: Wanted, models: Path, installed: Installed, unet_batch: int = DEFAULT_LIMITS.unet_batch) -> Choice:
    """Choose a runtime and its device.

    Args:
        wanted: what the operator asks for.
        models: folder of the set.
        installed: what this machine has.
        unet_batch: samples of the largest call of a UNet.

    Raises:
        InvalidInput: what is asked for does not go together, or this machine or the set lacks what it needs.
        ContractMismatch: the folder is not a set.
    """
    runtime = wanted.runtime or AUTO
    if runtime != AUTO and runtime not in RUNTIMES:
        raise InvalidInput(f"runtime is '{runtime}'; choose one of {', '.join(RUNTIMES)}, or {AUTO}")
    if wanted.device is not None and wanted.device not in DEVICES:
        raise InvalidInput(f"device is '{wanted.device}'; choose one of {', '.join(DEVICES)}")
    if wanted.weights is not None and runtime not in ("torch", AUTO):
        raise InvalidInput(
            f"--weights names checkpoints, which only the runtime torch loads; leave it out, or --runtime {runtime}"
        )
    device, chosen = _first_that_runs(wanted, runtime, models, installed)
    compiled = chosen == "torch" and device == "cuda" if wanted.compiled is None else wanted.compiled
    in_process = InProcess(chosen, device, wanted.gpu_memory_mib or 0, compiled=compiled)
    folder = wanted.weights or models
    model_set = _manifest(in_process, folder)
    sentence = f"{chosen} on {device}" + (", the fastest here" if runtime == AUTO else "")
    memory = ""
    if device == "cuda":
        memory = f"; {memory_sentence(in_process, model_set, unet_batch, FASTEST_FIRST['cuda'])}"
        sharing = sharing_within(chosen, model_set, unet_batch, in_process.gpu_memory_mib)
        if sharing is not None and not sharing.unets_stay:
            in_process = replace(in_process, compiled=False)
    elif wanted.gpu_memory_mib is not None:
        raise InvalidInput("--gpu-memory-mib is given and the networks run on the CPU; leave it out, or --device cuda")
    sentence += ", compiled, which takes minutes at the first start (--no-compile)" if in_process.compiled else ""
    return Choice(in_process, folder, model_set, sentence + memory)


def _first_that_runs(wanted: Wanted, runtime: str, models: Path, installed: Installed) -> tuple[Device, str]:
    """Return the first pair of device and runtime that lacks nothing, the fastest first."""
    reasons = []
    for device in _devices(wanted, runtime, installed):
        names = FASTEST_FIRST[device] if runtime == AUTO else (runtime,)
        fitting = [
            name for name in names if device in RUNTIMES[name].devices and not _wrong_files(name, wanted, models)
        ]
        for name in fitting or names:
            reason = _lacking(name, device, wanted, models, installed)
            if reason is None:
                return device, name
            reasons.append(reason)
    raise InvalidInput("; ".join(dict.fromkeys(reasons)))


def _devices(wanted: Wanted, runtime: str, installed: Installed) -> tuple[Device, ...]:
    if wanted.device is not None:
        return (cast(Device, wanted.device),)
    if runtime != AUTO and len(RUNTIMES[runtime].devices) == 1:
        return RUNTIMES[runtime].devices
    return ("cuda", "cpu") if installed.gpu else ("cpu",)


def _lacking(name: str, device: Device, wanted: Wanted, models: Path, installed: Installed) -> str | None:
    """Return why a runtime cannot run the set on a device here, with the cure; None if it can."""
    # It refuses a runtime that no such device has.
    InProcess(name, device)
    if device == "cuda" and not installed.gpu:
        return f"device is 'cuda' and this machine has no NVIDIA GPU (there is no {_GPU_DEVICE}); use --device cpu"
    if wrong := _wrong_files(name, wanted, models):
        return wrong
    if name != "onnxruntime" and not installed.torch:
        return f"the runtime {name} needs PyTorch and the model libraries; pip install 'respin[serve-torch]'"
    return _lacking_of_cuda(name, models, installed) if device == "cuda" else None


def _lacking_of_cuda(name: str, models: Path, installed: Installed) -> str | None:
    if name == "onnxruntime":
        cure = "pip uninstall onnxruntime, then pip install 'respin[serve-gpu]'"
        return None if installed.onnx_cuda else f"this ONNX Runtime was built without CUDA; {cure}"
    if not installed.torch_cuda:
        return "this PyTorch was built without CUDA; install the one of your CUDA version"
    if name == "tensorrt" and (flavour := _flavour(models)) not in installed.tensorrt:
        return (
            f"the engine plans are of {flavour}, which is not installed; "
            f"pip install 'respin[{flavour.replace('_', '-')}]', or build them again with respin engines"
        )
    return None


def _wrong_files(name: str, wanted: Wanted, models: Path) -> str | None:
    """Return why the files of a set are not what a runtime loads; None if they are."""
    if wanted.weights is not None:
        return None if name == "torch" else f"the runtime {name} does not load the checkpoints of --weights"
    model_set = ModelSet.load(models)
    held = next((Path(records[0].path).suffix for records in model_set.networks.values()), "")
    if name == "torch":
        # Of the mini set both are at hand; of others the modules' own loader says what it needs.
        return None if held == ".onnx" and models.resolve() == bundled_path("models/mini").resolve() else _NEEDS_WEIGHTS
    if held == Path(str(RUNTIMES[name].file)).suffix:
        return None
    return (
        f"set '{model_set.name}' holds {held} files and the runtime {name} loads {RUNTIMES[name].file}; "
        f"{'build them with respin engines' if name == 'tensorrt' else 'use --runtime tensorrt, or the ONNX set'}"
    )


_NEEDS_WEIGHTS = (
    "the runtime torch loads checkpoints, not exported files; give their folder, e.g. --weights weights "
    "(respin weights fetch)"
)


def _flavour(models: Path) -> str:
    engines = mapping_of(ModelSet.load(models).origin.get("engines"))
    identity = mapping_of(mapping_of(next(iter(engines.values()), None)).get("identity"))
    return str(identity.get("flavour", "tensorrt"))


def _manifest(in_process: InProcess, folder: Path) -> ModelSet:
    if in_process.runtime != "torch":
        return ModelSet.load(folder)
    modules: Any = importlib.import_module(MODULES)
    found: ModelSet = modules.manifest_of(folder, in_process.precision)
    return found


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _has_file(package: str, path: str) -> bool:
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    return any((Path(folder) / path).is_file() for folder in folders or ())
