"""The ten networks in this process as PyTorch modules: what the exported files are measured against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import nn

from respin.contracts import NETWORKS
from respin.model_set import Sizes
from respin.specs import Array, ModelSpec
from respin_benchmarks.in_process.runner import CompiledGraphs, Eager, Graphs
from respin_benchmarks.in_process.weights import Weights
from respin_ensemble.networks import BatchedNetworks
from respin_export.half import in_half

Execution = Literal["eager", "graphs", "compiled"]

COMPILED = ("zero123_unet", "inpaint_unet", "vae_decoder", "edsr", "sam_encoder")
"""Networks worth torch.compile's minutes: they hold nearly all of a job's arithmetic."""


class TorchNetworks(BatchedNetworks):
    """The ten networks, each called by one thread at a time.

    Args:
        modules: by name, on the device.
        sizes: of their set.
        device: "cpu" or "cuda".
        execution: "eager"; "graphs" = a CUDA graph for each shape that comes again; "compiled" = the same of
            torch.compile's code, for those of `COMPILED`.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], sizes: Sizes, *, device: str = "cpu", execution: Execution = "eager"
    ) -> None:
        super().__init__(sizes)
        self.runners = {
            name: _kind(name, execution)(module, NETWORKS[name], device) for name, module in modules.items()
        }

    @classmethod
    def load(
        cls,
        weights: Weights,
        *,
        device: str,
        half: bool,
        execution: Execution,
        on_load: Callable[[str], None] = lambda _: None,
    ) -> TorchNetworks:
        """Load all, one after another.

        Args:
            weights: to load from.
            device: "cpu" or "cuda".
            half: in float16 where `respin_export.half` says so.
            execution: see the class.
            on_load: told each network's name before it is loaded.
        """
        modules = {}
        for name in NETWORKS:
            on_load(name)
            module = weights.load(name).eval().requires_grad_(False)
            modules[name] = (in_half(module) if half else module).to(device)
        return cls(modules, weights.sizes, device=device, execution=execution)

    def _run(self, spec: ModelSpec, arrays: dict[str, Array]) -> dict[str, Array]:
        with torch.inference_mode():
            return self.runners[spec.name](arrays)


def _kind(name: str, execution: Execution) -> type[Eager]:
    if execution == "eager":
        return Eager
    return CompiledGraphs if execution == "compiled" and name in COMPILED else Graphs
