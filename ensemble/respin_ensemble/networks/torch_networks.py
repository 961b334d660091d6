"""The ten networks in this process as PyTorch modules, on the CPU or as CUDA graphs on a GPU.

PyTorch is imported only here, in the modules that this one imports, and in `networks.tensorrt`: when it is chosen.
"""

from __future__ import annotations

import importlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from respin.contracts import NETWORKS
from respin.errors import ContractMismatch, InternalError, InvalidInput, RespinError
from respin.gpu_memory import CONTEXT_MIB, MIB
from respin.model_set import ModelSet, Sizes
from respin.specs import Array, ModelSpec
from respin_ensemble.networks import NOT_PAGED, BatchedNetworks
from respin_ensemble.networks.in_process import ReportLoading, Source
from respin_ensemble.networks.residency import Pageable
from respin_ensemble.networks.torch_calls import EagerCall, GraphedCall, Unguided
from respin_ensemble.networks.torch_compile import Compilation, CompiledCall, keep_compiled_code, read_text_as_utf8
from respin_ensemble.networks.torch_lanes import has_room, make_lanes
from respin_ensemble.networks.torch_paged import WITHOUT_GRAPHS, PagedModule

ModuleLoader = Callable[[str], nn.Module]
"""Loads the module of a network, by name, onto the CPU, in evaluation mode and in the precision that it runs in."""

Execution = Literal["eager", "graphs"]


class ModuleNetworks(BatchedNetworks):
    """Networks as PyTorch modules, each called by one thread at a time.

    Args:
        modules: by name, on the device.
        sizes: sizes of their set.
        device: "cpu" or "cuda".
        execution: "eager"; "graphs" = a CUDA graph for each shape that comes again.
        pageables: what loads and unloads some of the modules, by name; those are called without graphs and as they are.
        compilation: calls that run torch.compile's code; None = none.
        roomy: see `torch_lanes.has_room`.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        sizes: Sizes,
        *,
        device: str = "cpu",
        execution: Execution = "eager",
        pageables: Mapping[str, Pageable] = NOT_PAGED,
        compilation: Compilation | None = None,
        roomy: bool = False,
    ) -> None:
        super().__init__(sizes)
        lanes = {} if device == "cpu" or execution == "eager" else make_lanes(device, roomy=roomy)

        def call(name: str, module: nn.Module) -> EagerCall:
            spec, lane = NETWORKS[name], lanes.get(name)
            if compilation is not None and name in compilation.shapes and name not in pageables:
                return CompiledCall(module, spec, device, lane, compilation=compilation)
            return (EagerCall if execution == "eager" else GraphedCall)(module, spec, device, lane)

        self.calls = {name: call(name, module) for name, module in modules.items()}
        self.unguided = {
            name: call(name, Unguided(_by_rows(name, module, device)))
            for name, module in modules.items()
            if is_doubled(module)
        }
        """Calls of UNets without their unconditional half, by the same weights: for samples outside of the guidance
        interval."""
        self.pageables = pageables
        for each in (calls[name] for calls in (self.calls, self.unguided) for name in calls.keys() & pageables.keys()):
            if isinstance(each, GraphedCall):
                each.uncaptured = WITHOUT_GRAPHS

    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        try:
            with torch.inference_mode():
                return self._call_for(spec.name, arrays)(arrays)
        except RespinError:
            raise
        except Exception as error:  # PyTorch's errors have no common base class
            raise InternalError(f"{spec.name} failed: {error}") from error

    def _call_for(self, name: str, arrays: Mapping[str, Array]) -> EagerCall:
        if name in self.unguided and (arrays["guidance"] == 1).all():
            return self.unguided[name]
        return self.calls[name]

    def release_memory(self) -> None:
        """Return what PyTorch keeps for later calls to the GPU; graphs that were captured stay."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class TorchNetworks(ModuleNetworks):
    """The ten networks as modules of published or trained weights."""

    @classmethod
    def from_set(
        cls, folder: Path, load_module: ModuleLoader, *, device: str = "cuda", execution: Execution = "graphs"
    ) -> TorchNetworks:
        """Load the ten networks of a set whose manifest gives the sizes and whose modules a caller can load.

        Args:
            folder: folder of the set.
            load_module: see `ModuleLoader`; this package knows no checkpoints.
            device: "cpu" or "cuda".
            execution: see `ModuleNetworks`.

        Raises:
            ContractMismatch: the folder is not a set.
            InvalidInput: the device is not available.
        """
        return cls.load(load_module, ModelSet.load(folder).sizes, device=device, execution=execution)

    @classmethod
    def load(
        cls,
        load_module: ModuleLoader,
        sizes: Sizes,
        *,
        device: str = "cuda",
        execution: Execution = "graphs",
        names: Sequence[str] = tuple(NETWORKS),
        paged: Collection[str] = (),
        compilation: Compilation | None = None,
        roomy: bool = False,
    ) -> TorchNetworks:
        """Load networks one after another.

        Args:
            load_module: see `ModuleLoader`.
            sizes: sizes of their set.
            device: "cpu" or "cuda".
            execution: see `ModuleNetworks`.
            names: names of the networks.
            paged: names of those that share memory: they stay off the device until they are loaded.
            compilation: see `ModuleNetworks`.
            roomy: see `torch_lanes.has_room`.

        Raises:
            InvalidInput: the device is not available.
        """
        require_device(device)
        modules = {
            name: (module_for_device if name in paged else module_on_device)(name, load_module, device)
            for name in names
        }
        pageables = {name: PagedModule(modules[name], device) for name in names if name in paged}
        return cls(
            modules,
            sizes,
            device=device,
            execution=execution,
            pageables=pageables,
            compilation=compilation,
            roomy=roomy,
        )


def load_in_process(source: Source, report: ReportLoading) -> TorchNetworks:
    """Load the networks of the engine: see `respin_ensemble.networks.in_process`.

    Raises:
        ContractMismatch: a network does not compute in the manifest's precision.
    """
    choice, precision = source.choice, source.model_set.precision
    require_device(choice.device)
    if choice.compiled:
        # Before the modules' libraries import PyTorch's compiler, which then takes a folder of its own.
        keep_compiled_code()
        read_text_as_utf8()
    if choice.device == "cuda":
        limit_gpu_memory(choice.gpu_memory_mib)
        torch.backends.cudnn.benchmark = True
    else:
        # Of the two UNets of a job each gets half of the cores.
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    maker: Any = importlib.import_module(choice.modules)
    load_module: ModuleLoader = maker.module_loader(source.weights, choice.device, precision)
    order = list(NETWORKS)

    def load_checked(name: str) -> nn.Module:
        report(f"loading {name} ({order.index(name) + 1} of {len(order)})")
        module = load_module(name)
        check_precision(name, module, precision)
        return module

    compilation = None
    if choice.compiled:
        gpu_batch = source.unet_batch if choice.device == "cuda" else None
        compilation = Compilation.of_warm_up(source.model_set.sizes, gpu_batch, report)
    return TorchNetworks.load(
        load_checked,
        source.model_set.sizes,
        device=choice.device,
        execution="graphs" if choice.device == "cuda" else "eager",
        paged=source.paged,
        compilation=compilation,
        roomy=has_room(choice),
    )


def check_precision(name: str, module: nn.Module, precision: str) -> None:
    """Check that a network computes in the precision of its set's manifest, by the type of most of its weights.

    Args:
        name: name of the network.
        module: the network.
        precision: "fp16" or "fp32".

    Raises:
        ContractMismatch: it does not.
    """
    sizes: Counter[torch.dtype] = Counter()
    for parameter in module.parameters():
        sizes[parameter.dtype] += parameter.numel()
    wanted = torch.float16 if precision == "fp16" else torch.float32
    if sizes and (most := sizes.most_common(1)[0][0]) != wanted:
        raise ContractMismatch(
            f"{name} has weights of {most} and the set's manifest says {precision}; assemble the repository again"
        )


def limit_gpu_memory(mib: int) -> None:
    """Limit what PyTorch allocates on the GPU, so that the process keeps to its budget.

    Args:
        mib: limit of the process in MiB, of which CUDA's context takes a part; 0 = none.
    """
    if mib:
        total = torch.cuda.get_device_properties(0).total_memory
        allowed = max(0, mib - CONTEXT_MIB) * MIB
        torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / total))


def require_device(device: str) -> None:
    """Check that PyTorch has a device.

    Raises:
        InvalidInput: it does not.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidInput("device is 'cuda' and PyTorch sees no NVIDIA GPU here; use --device cpu")


def module_on_device(name: str, load_module: ModuleLoader, device: str) -> nn.Module:
    """Load the module of one network onto a device: see `module_for_device`."""
    return module_for_device(name, load_module, device).to(device)


def module_for_device(name: str, load_module: ModuleLoader, device: str) -> nn.Module:
    """Load the module of one network as it runs on a device, onto the CPU.

    Args:
        name: name of the network.
        load_module: see `ModuleLoader`.
        device: "cpu" or "cuda".
    """
    module = load_module(name)
    if device == "cuda" and name == "inpaint_unet" and is_doubled(module):
        # diffusers and transformers, which only these modules need
        from respin_ensemble.networks.torch_parts import chunk_feed_forward  # noqa: PLC0415

        chunk_feed_forward(module)
    return module


def is_doubled(module: nn.Module) -> bool:
    """Return whether a network doubles each sample for guidance, and can do without; the mini set's UNets do not."""
    return hasattr(module, "predict_conditional")


def _by_rows(name: str, module: nn.Module, device: str) -> nn.Module:
    """Return a module whose feed-forward layers take any number of rows: without guidance a sample is one, not two."""
    if device == "cpu" or name != "inpaint_unet":
        return module
    # diffusers and transformers, which only these modules need
    from respin_ensemble.networks.torch_parts import twin_by_rows  # noqa: PLC0415

    return twin_by_rows(module)
