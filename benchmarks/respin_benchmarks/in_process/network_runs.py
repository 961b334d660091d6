"""Each network by itself: how fast, how near to the limit, and how near to its float32 module."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from respin.contracts import NETWORKS
from respin.lengths import usual_lengths
from respin.model_set import Sizes
from respin.report.statistics import percentile
from respin.specs import Array, ModelSpec
from respin_benchmarks.gpu import MIB
from respin_benchmarks.in_process.machine import Ceilings, Machine
from respin_benchmarks.in_process.rows import NetworkRun
from respin_benchmarks.in_process.weights import Weights
from respin_ensemble.networks import BatchedNetworks
from respin_ensemble.networks.torch_calls import GraphedCall
from respin_ensemble.networks.torch_graph import as_list
from respin_ensemble.networks.torch_networks import ModuleNetworks
from respin_export.example import example_inputs
from respin_export.half_parity import deviations_fp16, inputs_without_amplification
from respin_export.networks.folding import fold
from respin_export.parity import outputs_by_name

BATCHES = dict.fromkeys(NETWORKS, (1,)) | {"zero123_unet": (1, 4, 8), "inpaint_unet": (1, 2, 4), "clip_text": (2,)}
"""Numbers of samples that each network is measured with."""

WARM_UPS = {"cpu": 2, "cuda": 3}
"""Calls before any is timed: the first chooses kernels, on a GPU the second captures a graph."""


def usual_inputs(spec: ModelSpec, sizes: Sizes, batch: int) -> dict[str, Array]:
    """Return example inputs at the lengths that a set fixes, and the usual ones of its pictures."""
    lengths = usual_lengths(spec, sizes)
    return inputs_without_amplification(example_inputs(spec, sizes, batch=batch, lengths=lengths, seed=1))


@dataclass(frozen=True)
class NetworkBench:
    """Measures networks on one machine."""

    machine: Machine  # that they run on
    ceilings: Ceilings  # of it
    weights: Weights  # of the modules that answers are compared with
    words: str  # which weights these are
    calls: int  # that are timed

    def measure(self, runtime: str, networks: BatchedNetworks, name: str) -> Iterator[NetworkRun]:
        """Time one network with each of its batches, and compare its answers with those of its float32 module.

        Args:
            runtime: name of what runs the networks.
            networks: networks of that runtime.
            name: name of the network.
        """
        # As it is exported: arithmetic that is not done counts in no limit.
        module = fold(self.weights.load(name).eval().requires_grad_(False)).to(self.machine.kind)
        in_float32 = sum(tensor.nbytes for tensor in module.parameters())
        weights_bytes = in_float32 // 2 if self.machine.precision == "fp16" else in_float32
        for batch in BATCHES[name]:
            inputs = usual_inputs(NETWORKS[name], self.weights.sizes, batch)
            wanted, flop = _compute(module, inputs, self.machine.kind)
            moved = weights_bytes + sum(array.nbytes for array in [*inputs.values(), *wanted])
            yield NetworkRun(
                **vars(self.machine.circumstances),
                **vars(self.ceilings),
                **self._times_and_errors(networks, NETWORKS[name], inputs, wanted),
                network=name,
                runtime=runtime,
                precision=self.machine.precision,
                batch=batch,
                shapes=" ".join("x".join(map(str, array.shape[1:])) for array in inputs.values()),
                calls=self.calls,
                gflop=round(flop / 1e9, 3),
                least_mib=round(moved / MIB, 3),
                floor_ms=round(self.ceilings.floor_ms(flop, moved), 4),
                weights=self.words,
            )

    def _times_and_errors(
        self, networks: BatchedNetworks, spec: ModelSpec, inputs: Mapping[str, Array], wanted: Sequence[Array]
    ) -> dict[str, Any]:
        for _ in range(WARM_UPS[self.machine.kind]):
            answer = networks(spec, **inputs)
        times = []
        for _ in range(self.calls):
            began_s = time.perf_counter()
            networks(spec, **inputs)
            times.append((time.perf_counter() - began_s) * 1e3)
        got = [answer[tensor.name] for tensor in spec.outputs]
        errors = deviations_fp16(spec.name, got, outputs_by_name(spec, wanted))
        device_ms, note = _measure_on_device(networks, spec.name, inputs, self.calls)
        return {
            "call_ms": round(statistics.median(times), 4),
            "call_p95_ms": round(percentile(times, 0.95), 4),
            "device_ms": round(device_ms, 4),
            "errors": "; ".join(f"{each.output} {each.error:.1e}" for each in errors),
            "note": note,
        }


def _compute(module: nn.Module, inputs: Mapping[str, Array], device: str) -> tuple[list[Array], float]:
    """Return the module's outputs in true float32, and the arithmetic that they took."""
    tensors = {name: torch.tensor(array, device=device) for name, array in inputs.items()}
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False), counter:
        outputs = [output.float().cpu().numpy() for output in as_list(module(**tensors))]
    return outputs, float(counter.get_total_flops())


def _measure_on_device(
    networks: BatchedNetworks, name: str, inputs: Mapping[str, Array], calls: int
) -> tuple[float, str]:
    """Return what a call takes on the device alone, ms, if there is a graph; and why there is none."""
    call = networks.calls[name] if isinstance(networks, ModuleNetworks) else None
    if not isinstance(call, GraphedCall):
        return math.nan, ""
    replay = call.replays.get(tuple(array.shape for array in inputs.values()))
    if replay is None:
        return math.nan, f"no CUDA graph: {call.uncaptured}"
    with call.lane.lock, call.on_stream():
        return replay.device_ms(calls), ""
