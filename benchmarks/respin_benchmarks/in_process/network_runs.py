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
from respin.model_set import Sizes
from respin.specs import Array, ModelSpec
from respin_benchmarks.gpu import MIB
from respin_benchmarks.in_process.machine import Ceilings, Machine
from respin_benchmarks.in_process.rows import NetworkRun
from respin_benchmarks.in_process.runner import Graphs, listed
from respin_benchmarks.in_process.torch_networks import TorchNetworks
from respin_benchmarks.in_process.weights import Weights
from respin_ensemble.networks import BatchedNetworks
from respin_export.example import example_inputs, usual_lengths
from respin_export.half_parity import deviations_fp16, inputs_without_amplification
from respin_export.networks.folding import folded
from respin_export.parity import named

WARM_UPS = {"cpu": 2, "cuda": 3}
"""Calls before any is timed: the first chooses kernels or compiles, on a GPU the second captures a graph."""

SPINS_MS = 200.0
"""For so long after a call a runtime's threads may spin in the way of the next one's: calls that take longer do not
mind, others begin with one that is not timed."""

TURNS = 5
"""In which the calls of each runtime are timed, so that whatever else the machine does hits all alike."""

BATCHES = {"zero123_unet": (1, 4, 8), "inpaint_unet": (1, 2, 4), "clip_text": (2,)}
"""Of each network that is not called with one sample at a time."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A network on inputs whose answer is known.

    Args:
        spec: the network's contract.
        inputs: at the contract's usual lengths.
        wanted: what the float32 module makes of them.
        flop: of the call, 2 x multiply-add.
        moved_bytes: weights, inputs and outputs, once each.
    """

    spec: ModelSpec
    inputs: Mapping[str, Array]
    wanted: Sequence[Array]
    flop: float
    moved_bytes: float


def usual_inputs(
    spec: ModelSpec, sizes: Sizes, batch: int, lengths: Mapping[str, int] | None = None
) -> dict[str, Array]:
    """Example inputs at the lengths that a set fixes, elsewhere those given, or the usual within its picture sizes."""
    lengths = usual_lengths(spec, sizes) | dict(lengths or {})
    return inputs_without_amplification(example_inputs(spec, sizes, batch=batch, lengths=lengths, seed=1))


def batches_of(name: str, largest_batch: int) -> tuple[int, ...]:
    """Batches that a network is tried with.

    Args:
        name: of the network.
        largest_batch: of the usual ones; of a network that is only called with more, that.
    """
    usual = BATCHES.get(name, (1,))
    return tuple(each for each in usual if each <= largest_batch) or usual[:1]


def trials(weights: Weights, name: str, machine: Machine, *, half: bool, largest_batch: int) -> list[Trial]:
    """The trials of one network, whose module is then gone.

    Args:
        weights: to load from.
        name: of the network.
        machine: computes the wanted outputs.
        half: whether weights are moved as float16.
        largest_batch: as of `batches_of`.
    """
    spec = NETWORKS[name]
    # As it is exported: arithmetic that is not done counts in no limit.
    module = folded(weights.load(name).eval().requires_grad_(False)).to(machine.kind)
    weights_bytes = sum(tensor.nbytes for tensor in module.parameters()) / (2 if half else 1)
    found = []
    for batch in batches_of(name, largest_batch):
        inputs = usual_inputs(spec, weights.sizes, batch)
        wanted, flop = _computed(module, inputs, machine.kind)
        moved = weights_bytes + sum(array.nbytes for array in [*inputs.values(), *wanted])
        found.append(Trial(spec, inputs, wanted, flop, moved))
    return found


def _computed(module: nn.Module, inputs: Mapping[str, Array], device: str) -> tuple[list[Array], float]:
    """The module's outputs in true float32, and the arithmetic that they took."""
    tensors = {name: torch.tensor(array, device=device) for name, array in inputs.items()}
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False), counter:
        outputs = [output.float().cpu().numpy() for output in listed(module(**tensors))]
    return outputs, float(counter.get_total_flops())


@dataclass(frozen=True)
class Bench:
    """Measures networks on one machine.

    Args:
        machine: that they run on.
        ceilings: of it.
        half: in float16.
        weights: which ones, in words.
        calls: that are timed.
    """

    machine: Machine
    ceilings: Ceilings
    half: bool
    weights: str
    calls: int

    def measured(self, ways: Mapping[str, BatchedNetworks], trial: Trial) -> list[NetworkRun]:
        """Time one network on one batch by each runtime in turn, some calls at a time, and compare the answers.

        Args:
            ways: networks by the runtime that runs them.
            trial: what they are given.
        """
        answers, warm_ms = {}, {}
        for runtime, networks in ways.items():
            for _ in range(WARM_UPS[self.machine.kind] - 1):
                networks(trial.spec, **trial.inputs)
            answers[runtime], warm_ms[runtime] = _called(networks, trial)
        times: dict[str, list[float]] = {runtime: [] for runtime in ways}
        for turn in range(min(TURNS, self.calls)):
            for runtime, networks in ways.items():
                if warm_ms[runtime] < SPINS_MS:
                    networks(trial.spec, **trial.inputs)
                times[runtime] += [_called(networks, trial)[1] for _ in range(turn, self.calls, TURNS)]
        return [
            self._row(runtime, networks, trial, times[runtime], answers[runtime]) for runtime, networks in ways.items()
        ]

    def _row(
        self, runtime: str, networks: BatchedNetworks, trial: Trial, times: Sequence[float], answer: Mapping[str, Array]
    ) -> NetworkRun:
        spec, inputs = trial.spec, trial.inputs
        got = [answer[tensor.name] for tensor in spec.outputs]
        errors = deviations_fp16(spec.name, got, named(spec, trial.wanted))
        device_ms, note = _on_device(networks, spec.name, inputs, self.calls)
        return NetworkRun(
            network=spec.name,
            runtime=runtime,
            precision="fp16" if self.half else "fp32",
            batch=len(next(iter(inputs.values()))),
            shapes=" ".join("x".join(map(str, array.shape[1:])) for array in inputs.values()),
            calls=self.calls,
            call_ms=round(statistics.median(times), 4),
            call_p95_ms=round(sorted(times)[math.ceil(0.95 * len(times)) - 1], 4),
            device_ms=round(device_ms, 4),
            gflop=round(trial.flop / 1e9, 3),
            least_mib=round(trial.moved_bytes / MIB, 3),
            floor_ms=round(self.ceilings.floor_ms(trial.flop, trial.moved_bytes), 4),
            errors="; ".join(f"{each.output} {each.error:.1e}" for each in errors),
            note=note,
            weights=self.weights,
            commit=self.machine.commit,
            date=self.machine.date,
            machine=self.machine.name,
            matmul_tflops=self.ceilings.matmul_tflops,
            copy_gb_s=self.ceilings.copy_gb_s,
            versions=self.machine.versions,
        )


def _called(networks: BatchedNetworks, trial: Trial) -> tuple[dict[str, Array], float]:
    """The answer, and what the call took, ms."""
    began_s = time.perf_counter()
    answer = networks(trial.spec, **trial.inputs)
    return answer, (time.perf_counter() - began_s) * 1e3


def _on_device(networks: BatchedNetworks, name: str, inputs: Mapping[str, Array], calls: int) -> tuple[float, str]:
    """What a call takes on the device alone, ms, where a graph tells; and why there is none."""
    runner = networks.runners[name] if isinstance(networks, TorchNetworks) else None
    if not isinstance(runner, Graphs):
        return math.nan, ""
    replay = runner.replays.get(tuple(array.shape for array in inputs.values()))
    if replay is None:
        return math.nan, f"no CUDA graph: {runner.uncaptured}"
    with runner.lane.lock, runner.on_stream():
        return replay.device_ms(calls), ""


def rows_by_key(rows: Iterable[NetworkRun]) -> dict[tuple[str, str, str, int], NetworkRun]:
    """By network, runtime, precision and batch."""
    return {(row.network, row.runtime, row.precision, row.batch): row for row in rows}
