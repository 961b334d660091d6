"""The ten networks in this process as TensorRT engine plans.

An engine plan is wrapped as a PyTorch module: copies, streams and CUDA graphs are then those of any other module.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from respin.contracts import NETWORKS
from respin.errors import ContractMismatch, InternalError, InvalidInput
from respin.model_set import ModelSet
from respin.specs import Array, ModelSpec
from respin_ensemble.networks.gate import GPU
from respin_ensemble.networks.in_process import ReportLoading, Source
from respin_ensemble.networks.torch_lanes import has_room
from respin_ensemble.networks.torch_networks import ModuleNetworks, limit_gpu_memory, require_device
from respin_ensemble.networks.unguided import without_guidance


class TensorRtNetworks(ModuleNetworks):
    """The ten networks as engine plans, called as CUDA graphs."""

    @classmethod
    def from_set(
        cls, folder: Path, *, device: str = "cuda", names: Sequence[str] = tuple(NETWORKS)
    ) -> TensorRtNetworks:
        """Load the engine plans of a set, with the flavour of TensorRT that built them.

        Args:
            folder: folder of the set, as `respin engines` makes it.
            device: "cuda".
            names: names of the networks.

        Raises:
            ContractMismatch: the folder is not a set of engine plans, or lacks a network.
            InvalidInput: there is no GPU, or that TensorRT is not installed.
            InternalError: TensorRT cannot load an engine plan here.
        """
        if device != "cuda":
            raise InvalidInput(f"device is '{device}' and TensorRT runs only on an NVIDIA GPU; use --device cuda")
        manifest = ModelSet.load(folder)
        # Before the files are looked for: a set of graphs has none of engine plans.
        flavour_of(manifest)
        return cls.from_files({name: manifest.file(folder, NETWORKS[name]) for name in names}, manifest)

    @classmethod
    def from_files(
        cls,
        files: Mapping[str, Path],
        manifest: ModelSet,
        report: ReportLoading | None = None,
        paged: Collection[str] = (),
        *,
        roomy: bool = False,
    ) -> TensorRtNetworks:
        """Load engine plans from their files.

        Args:
            files: path of each network's engine plan, by name.
            manifest: manifest of their set, which records the flavour of TensorRT.
            report: receives the name of each network before it is loaded.
            paged: names of those that share memory: they are loaded later.
            roomy: see `torch_lanes.has_room`.

        Raises:
            ContractMismatch: it is not a set of engine plans.
            InvalidInput: there is no GPU, or that TensorRT is not installed.
            InternalError: TensorRT cannot load an engine plan here.
        """
        trt = load_tensorrt(flavour_of(manifest))
        require_device("cuda")
        plans: dict[str, EnginePlan] = {}
        for name, path in files.items():
            if report is not None and name not in paged:
                report(f"loading {name} ({len(plans) + 1} of {len(files)})")
            plans[name] = EnginePlan(trt, path, NETWORKS[name], loaded=name not in paged)
        pageables = {name: plans[name] for name in paged}
        return cls(plans, manifest.sizes, device="cuda", execution="graphs", pageables=pageables, roomy=roomy)

    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        plan = self.calls[spec.name].module
        return super()._run(
            spec, dict(without_guidance(arrays)) if isinstance(plan, EnginePlan) and plan.may_be_unguided else arrays
        )


def load_in_process(source: Source, report: ReportLoading) -> TensorRtNetworks:
    """Load the networks of the engine: see `respin_ensemble.networks.in_process`."""
    require_device("cuda")
    limit_gpu_memory(source.choice.gpu_memory_mib)
    return TensorRtNetworks.from_files(
        source.files(), source.model_set, report, source.paged, roomy=has_room(source.choice)
    )


def flavour_of(manifest: ModelSet) -> str:
    """Return the flavour of TensorRT that built a set's engine plans, "tensorrt" or "tensorrt_rtx".

    Raises:
        ContractMismatch: it is not a set of engine plans.
    """
    engines = manifest.origin.get("engines")
    if isinstance(engines, Mapping):
        for record in engines.values():
            return str(record["identity"]["flavour"])
    raise ContractMismatch(f"set '{manifest.name}' has no engine plans; build them with respin engines")


def load_tensorrt(flavour: str) -> Any:
    """Import the module of a flavour of TensorRT.

    Raises:
        InvalidInput: it is not installed, or does not load.
    """
    try:
        return importlib.import_module(flavour)
    except (ImportError, OSError) as error:
        raise InvalidInput(
            f"the engine plans are of {flavour}, which does not load here ({error}); install it, or build the plans "
            "again with the TensorRT that is installed (respin engines)"
        ) from error


class EnginePlan(nn.Module):
    """An engine plan of either flavour; runs on PyTorch's current stream, by one thread at a time.

    `may_be_unguided` says whether it takes less `guidance` than samples (`respin.contracts.networks.GUIDED`); that is
    known once it was loaded.

    Its scratch memory is PyTorch's too, as much as the shapes of a call need: plans that are called one after another
    share it, also those that a CUDA graph has captured.

    Args:
        trt: the module of the flavour that built it.
        path: path of the engine plan.
        spec: the network's contract.
        device: where tensors lie.
        loaded: whether it is loaded now; else by `load`.

    Raises:
        InternalError: TensorRT cannot load the plan here.
    """

    def __init__(self, trt: Any, path: Path, spec: ModelSpec, device: str = "cuda", *, loaded: bool = True) -> None:
        super().__init__()
        self._trt, self._path, self._spec, self._device = trt, path, spec, device
        # The runtime and the engine have to live as long as the context.
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self.may_be_unguided = False
        # TensorRT refuses a null address, which empty tensors have.
        self._no_values = torch.empty(1, device=device)
        if loaded:
            self.load()

    def load(self) -> None:
        """Deserialize the plan, whose file the operating system keeps in memory if there is enough.

        Raises:
            InternalError: TensorRT cannot load the plan here.
        """
        trt, path, spec = self._trt, self._path, self._spec
        with GPU.call():
            self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
            self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
            if self._engine is None:
                raise InternalError(
                    f"{spec.name}: TensorRT {trt.__version__} cannot load {path.name} on this machine; "
                    "build it here, with the same TensorRT (respin engines --rebuild)"
                )
            self.may_be_unguided = any(
                tensor.name == "guidance" and self._engine.get_tensor_profile_shape("guidance", 0)[0][0] == 0
                for tensor in spec.inputs
            )
            self._context = _context(trt, self._engine)
            if self._context is None:
                raise InternalError(
                    f"{spec.name}: TensorRT has no context for {path.name}; most often, GPU memory is short"
                )

    def unload(self) -> None:
        """Release context and engine, and what PyTorch keeps of the memory of the calls."""
        with GPU.call():
            self._context = None
            self._engine = None
            self._runtime = None
            if self._device == "cuda":
                torch.cuda.empty_cache()

    def forward(self, **inputs: Tensor) -> list[Tensor]:
        """One batch; tensors by the contract's names, contiguous, on the device.

        Raises:
            InternalError: the engine was not built for such shapes.
            RuntimeError: TensorRT could not run it.
        """
        context = self._context
        for name, tensor in inputs.items():
            if not context.set_input_shape(name, tuple(tensor.shape)):
                raise InternalError(
                    f"{self._spec.name}: {name} has the shape {tuple(tensor.shape)}, for which the engine was not "
                    "built; build it again with the contract's shapes (respin engines --rebuild)"
                )
            context.set_tensor_address(name, (tensor if tensor.numel() else self._no_values).data_ptr())
        scratch = torch.empty(context.update_device_memory_size_for_shapes(), dtype=torch.uint8, device=self._device)
        context.set_device_memory(scratch.data_ptr(), len(scratch))
        outputs = []
        for wanted in self._spec.outputs:
            shape, dtype = tuple(context.get_tensor_shape(wanted.name)), getattr(torch, wanted.dtype.numpy.name)
            outputs.append(torch.empty(shape, dtype=dtype, device=self._device))
            context.set_tensor_address(wanted.name, outputs[-1].data_ptr())
        stream = torch.cuda.current_stream().cuda_stream if self._device == "cuda" else 0
        if not context.execute_async_v3(stream):
            raise RuntimeError(f"{self._spec.name}: TensorRT could not run the engine")
        return outputs


def _context(trt: Any, engine: Any) -> Any:
    strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    if not hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
        return engine.create_execution_context(strategy)
    # TensorRT-RTX makes kernels for new shapes in the background by default: a graph would keep the slower ones.
    config = engine.create_runtime_config()
    config.set_execution_context_allocation_strategy(strategy)
    config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
    return engine.create_execution_context(config)
