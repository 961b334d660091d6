"""Each network by itself: how fast, how near to the limit, and how near to its float32 module."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from respin.contracts import NETWORKS
from respin.report.statistics import percentile
from respin.specs import Array, ModelSpec
from respin_benchmarks.gpu import MIB
from respin_benchmarks.in_process.example_inputs import usual_inputs
from respin_benchmarks.in_process.machine import Ceilings, Machine
from respin_benchmarks.in_process.rows import NetworkRun
from respin_benchmarks.in_process.weights import Weights
from respin_ensemble.networks import BatchedNetworks
from respin_ensemble.networks.torch_calls import GraphedCall
from respin_ensemble.networks.torch_graph import as_list
from respin_ensemble.networks.torch_networks import ModuleNetworks
from respin_export.half_parity import deviations_fp16
from respin_export.networks.folding import fold
from respin_export.parity import outputs_by_name

WARM_UPS = {"cpu": 2, "cuda": 3}
"""Calls before any is timed: the first chooses kernels, on a GPU the second captures a graph."""


@dataclass(frozen=True, eq=False)
class NetworkTrial:
    """A network on inputs whose answer is known."""

    spec: ModelSpec  # the network's contract
    inputs: Mapping[str, Array]  # at the contract's usual lengths
    wanted: Sequence[Array]  # outputs of the float32 module
    flop: float  # of the call, 2 x multiply-add
    moved_bytes: float  # weights, inputs and outputs, once each


def make_trials(
    weights: Weights, name: str, machine: Machine, *, half: bool, batches: Iterable[int]
) -> list[NetworkTrial]:
    """Return the trials of one network; its module is released.

    Args:
        weights: to load from.
        name: of the network.
        machine: computes the wanted outputs.
        half: whether weights are moved as float16.
        batches: numbers of samples, one for each trial.
    """
    spec = NETWORKS[name]
    # As it is exported: arithmetic that is not done counts in no limit.
    module = fold(weights.load(name).eval().requires_grad_(False)).to(machine.kind)
    weights_bytes = sum(tensor.nbytes for tensor in module.parameters()) / (2 if half else 1)
    found = []
    for batch in batches:
        inputs = usual_inputs(spec, weights.sizes, batch)
        wanted, flop = _compute(module, inputs, machine.kind)
        moved = weights_bytes + sum(array.nbytes for array in [*inputs.values(), *wanted])
        found.append(NetworkTrial(spec, inputs, wanted, flop, moved))
    return found


def _compute(module: nn.Module, inputs: Mapping[str, Array], device: str) -> tuple[list[Array], float]:
    """Return the module's outputs in true float32, and the arithmetic that they took."""
    tensors = {name: torch.tensor(array, device=device) for name, array in inputs.items()}
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False), counter:
        outputs = [output.float().cpu().numpy() for output in as_list(module(**tensors))]
    return outputs, float(counter.get_total_flops())


@dataclass(frozen=True)
class NetworkBench:
    """Measures networks on one machine."""

    machine: Machine  # that they run on
    ceilings: Ceilings  # of it
    precision: str  # of the networks
    weights: str  # which ones, in words
    calls: int  # that are timed

    def measure(self, runtime: str, networks: BatchedNetworks, trial: NetworkTrial) -> NetworkRun:
        """Time one network on one batch, and compare its answer.

        Args:
            runtime: that runs the networks.
            networks: of that runtime.
            trial: what they are given.
        """
        spec, inputs, times = trial.spec, trial.inputs, list[float]()
        for _ in range(WARM_UPS[self.machine.kind]):
            answer = networks(spec, **inputs)
        for _ in range(self.calls):
            began_s = time.perf_counter()
            networks(spec, **inputs)
            times.append((time.perf_counter() - began_s) * 1e3)
        errors = deviations_fp16(
            spec.name, [answer[tensor.name] for tensor in spec.outputs], outputs_by_name(spec, trial.wanted)
        )
        device_ms, note = _measure_on_device(networks, spec.name, inputs, self.calls)
        return NetworkRun(
            **vars(self.machine.circumstances),
            network=spec.name,
            runtime=runtime,
            precision=self.precision,
            batch=len(next(iter(inputs.values()))),
            shapes=" ".join("x".join(map(str, array.shape[1:])) for array in inputs.values()),
            calls=self.calls,
            call_ms=round(statistics.median(times), 4),
            call_p95_ms=round(percentile(times, 0.95), 4),
            device_ms=round(device_ms, 4),
            gflop=round(trial.flop / 1e9, 3),
            least_mib=round(trial.moved_bytes / MIB, 3),
            floor_ms=round(self.ceilings.floor_ms(trial.flop, trial.moved_bytes), 4),
            errors="; ".join(f"{each.output} {each.error:.1e}" for each in errors),
            note=note,
            weights=self.weights,
            **vars(self.ceilings),
        )


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
