"""The GPU memory of the ten networks by runtime, computed without a GPU, for `respin serve --gpu-memory-mib`.

Each network runs on tensors that have shapes and no values (PyTorch's meta device). The greatest sum of those that
exist at the same time is its scratch memory; attention counts as its result, as fused kernels compute it. TensorRT's
figures are its builder's, from the rows of `make parity-full`.
"""

from __future__ import annotations

import json
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from respin.contracts import NETWORKS
from respin.contracts.networks import UNETS
from respin.gpu_memory import CONTEXT_MIB, MIB, gpu_need, shared_need
from respin.model_set import ModelSet, NetworkFile, Sizes
from respin.report.markdown import table
from respin.report.rows import read_records
from respin.runtimes import RUNTIMES
from respin_benchmarks.options import GpuMemoryOptions
from respin_benchmarks.runner import PageReport, run_benchmark
from respin_ensemble.networks.in_process import blank_inputs
from respin_ensemble.networks.torch_graph import as_list
from respin_ensemble.networks.torch_networks import is_doubled
from respin_ensemble.networks.torch_parts import chunk_feed_forward
from respin_export.checkpoints import load_network
from respin_export.inference_modules import halve
from respin_export.mini.trained import MiniSet
from respin_export.networks.folding import fold
from respin_export.networks.sam import move_positions_into_keys
from respin_export.weights.catalogue import choose
from respin_export.weights.layouts import checkpoint_layout

SetSize = Literal["full", "mini"]

FILE, PARITY = Path("src/respin/gpu_memory.json"), "parity_full.csv"

TARGETS_MIB = 9 * 1024, 6 * 1024
"""Targets for all networks at once, and for networks that make room for each other."""

TITLES = ("runtime", "samples a call", "weights", "scratch", "context")


class FusedAttention(TorchFunctionMode):
    """Takes attention for its result: fused kernels hold no scores, which the meta device's version does."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, or return the result's shape for attention."""
        given = kwargs or {}
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **given)
        query = args[0] if args else given["query"]
        value = args[2] if len(args) > 2 else given["value"]
        return torch.empty((*query.shape[:-1], value.shape[-1]), dtype=query.dtype, device=query.device)


class LiveMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the memory of the tensors that exist; `peak` is the most at any time, bytes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and note the memory of its results."""
        results = func(*args, **(kwargs or {}))
        for each in tree_iter(results):
            if isinstance(each, Tensor):
                self._note(each.untyped_storage())
        return results

    def _note(self, storage: Any) -> None:
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key)


def scratch_bytes(module: nn.Module, name: str, sizes: Sizes, batch: int) -> int:
    """Return the most memory that intermediate values and results of a module on the meta device take, bytes."""
    arrays = blank_inputs(NETWORKS[name], sizes, batch, {})
    inputs = {key: torch.from_numpy(array).to("meta") for key, array in arrays.items()}
    memory = LiveMemory()
    with torch.inference_mode(), torch.device("meta"), FusedAttention(), memory:
        as_list(module(**inputs))
    return memory.peak


def modules_without_values(size: SetSize) -> Iterator[tuple[str, nn.Module, Sizes]]:
    """Yield each network in float32 as it is exported, on the meta device: name, module, sizes."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder)
        if size == "full":
            _write_hollow_checkpoints(weights)
        for name in NETWORKS:
            loaded = load_network(name, weights) if size == "full" else MiniSet().load(name).eval()
            yield name, fold(loaded.requires_grad_(False).to("meta")), Sizes() if size == "full" else MiniSet.sizes


def _as_on_gpu(name: str, module: nn.Module, size: SetSize) -> nn.Module:
    """Return a network as a GPU runs it; the mini set's stay in float32."""
    if name == "sam_encoder":
        move_positions_into_keys(module)
    if size == "full":
        module = halve(name, module).to("meta")
    if name == "inpaint_unet" and is_doubled(module):
        chunk_feed_forward(module)
    return module


def _write_hollow_checkpoints(weights: Path) -> None:
    """Write the published files with all of their keys and shapes, and a single value that is stored once."""
    for chosen in map(choose, ("grounding_dino", "sam", "zero123", "edsr", "inpaint:ckpt")):
        (weights / chosen.checkpoint.name).mkdir()
        for path, layout in checkpoint_layout(chosen.name, "full").files.items():
            torch.save(_hollow(layout), weights / chosen.checkpoint.name / path)


def _hollow(layout: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) for name, tensor in layout.items()}


def compute(size: SetSize, builder: Mapping[str, float]) -> dict[str, Any]:
    """Return the figures of one size, as `respin.gpu_memory` reads them.

    The builder's scratch memory is in MiB, at the largest batch; where it is missing, PyTorch's is taken.
    """
    weights: dict[str, float] = {}
    scratch: dict[str, dict[str, tuple[float, float]]] = {"torch": {}, "tensorrt": {}}
    view_side = 0
    for name, exported, sizes in modules_without_values(size):
        module, view_side = _as_on_gpu(name, exported, size), sizes.view_side
        held = {id(tensor): tensor.nbytes for tensor in (*module.parameters(), *module.buffers())}
        weights[name] = round(sum(held.values()) / MIB, 1)
        largest = NETWORKS[name].max_batch_size if name in UNETS else 1
        usual = 2 if name == "clip_text" else 1
        first, last = (scratch_bytes(module, name, sizes, batch) / MIB for batch in (usual, max(usual, largest)))
        scratch["torch"][name] = _pair(first, last, largest)
        engine = builder.get(name)
        scratch["tensorrt"][name] = _pair(engine / largest, engine, largest) if engine else scratch["torch"][name]
        typer.echo(f"{size} {name}: weights {weights[name]} MiB, scratch {scratch['torch'][name]} MiB")
    return {"view_side": view_side, "weights_mib": weights, "scratch_mib": scratch}


def _pair(first: float, last: float, largest: int) -> tuple[float, float]:
    """Return the scratch of one sample and of each further one, from that of one and of the largest batch."""
    return round(first, 1), round((last - first) / (largest - 1), 1) if largest > 1 else 0.0


def engine_mib(results: Path, column: str) -> dict[str, float]:
    """Return a column of each engine plan at full size, MiB, by network, from the rows of `make parity-full`."""
    rows = read_records(results / PARITY)
    return {row["network"]: float(row[column]) for row in rows if row["step"] == "engine"}


def page_of(results: Path) -> str:
    """Return the section: the published set's need by runtime and batch."""
    weights_mib = json.loads(FILE.read_text())["full"]["weights_mib"]
    held = {"onnxruntime": weights_mib, "tensorrt": engine_mib(results, "file_mib")}
    rows = []
    for runtime, batch in product(RUNTIMES, (8, 4, 2, 1)):
        model_set = _set_of(held.get(runtime, {}))
        need = gpu_need(runtime, model_set, batch)
        stay, least = (shared_need(runtime, model_set, batch, unets_stay=each) for each in (True, False))
        numbers = (batch, need.weights_mib, need.scratch_mib, CONTEXT_MIB, need.total_mib, stay.total_mib)
        under = ["yes" if each <= target else "no" for each, target in zip(numbers[-2:], TARGETS_MIB, strict=True)]
        rows.append([f"`{runtime}`", *map(str, numbers), str(least.total_mib), *under])
    lines = [
        "Computed by `respin bench gpu-memory`, not measured: MiB, the published set in float16, at its usual sizes.",
        "With sharing, both UNets stay loaded beside the largest other network; the least that works has room for both",
        "UNets or, in their place, any other network.",
        "",
        *table([*TITLES, "in all", "with sharing", "least", "all under 9 GB", "shared under 6 GB"], rows),
    ]
    return "\n".join(lines) + "\n"


def _set_of(sizes_mib: Mapping[str, float]) -> ModelSet:
    files = {name: (NetworkFile(f"{name}/model.onnx", "0" * 64, round(mib * MIB)),) for name, mib in sizes_mib.items()}
    return ModelSet("full", "fp16", Sizes(), files)


def run(options: GpuMemoryOptions) -> None:
    """Compute the figures, and write the section."""

    def compute_all() -> None:
        figures = {"full": compute("full", engine_mib(options.results, "scratch_mib")), "mini": compute("mini", {})}
        options.figures.write_text(json.dumps(figures, indent=1) + "\n")

    run_benchmark(GPU_MEMORY, compute_all, options)


GPU_MEMORY = PageReport("gpu memory", page_of)
