"""Load the networks into the engine's process by the runtime that was chosen, and warm them up."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from respin.contracts import NETWORKS
from respin.contracts.networks import CLIP_TEXT, UNETS
from respin.errors import ContractMismatch, InternalError
from respin.gpu_memory import Sharing, sharing_within
from respin.lengths import Lengths, lengths_in_jobs, usual_lengths
from respin.model_set import ModelSet, Sizes
from respin.runtimes import InProcess
from respin.specs import Array, Axis, ModelSpec
from respin_ensemble.metrics import Meter
from respin_ensemble.networks import BatchedNetworks
from respin_ensemble.networks.residency import Residency
from respin_ensemble.networks.shared import SharedNetworks

LOADERS = {
    "onnxruntime": "respin_ensemble.networks.onnx",
    "tensorrt": "respin_ensemble.networks.tensorrt",
    "torch": "respin_ensemble.networks.torch_networks",
}
"""Module of each runtime, imported when it is chosen: the others, and PyTorch, stay out of the process.

Each has `load_in_process(source, report)`."""

GRAPH_CALLS = 3
"""Warm-up calls of a shape on a GPU: the first selects kernels, the second is captured, the third replays."""

TIMED_CALLS = 3
"""Calls of each batch of a UNet that are timed on a GPU; the fastest counts."""

LEAST_GAIN = 0.1
"""Share of a sample's time that a larger call has to save: below it, sharing a call costs latency and gains nothing."""

ReportLoading = Callable[[str], None]
"""Receives what is being done, in a few words."""


@dataclass(frozen=True)
class Source:
    """What the networks are loaded from.

    Args:
        folder: folder of the engine's version; it has `networks/<name>/<file>`, or `weights` for modules.
        model_set: manifest of the set.
        choice: the runtime and its device.
        unet_batch: samples of the largest call of a UNet.
    """

    folder: Path
    model_set: ModelSet
    choice: InProcess
    unet_batch: int = 8

    def files(self) -> dict[str, Path]:
        """Return the file of each network, by name."""
        return {name: self.folder / "networks" / name / str(self.choice.file) for name in NETWORKS}

    @property
    def weights(self) -> Path:
        """Folder of the checkpoints that modules are made of."""
        return self.folder / "weights"

    @property
    def sharing(self) -> Sharing | None:
        """How the networks share the memory of the choice; None if there is enough for all.

        Raises:
            InvalidInput: there is too little also for sharing.
        """
        choice = self.choice
        return sharing_within(choice.runtime, self.model_set, self.unet_batch, choice.gpu_memory_mib)

    @property
    def paged(self) -> tuple[str, ...]:
        """Names of the networks that are loaded only while they are needed."""
        sharing = self.sharing
        return sharing.paged if sharing else ()


@dataclass(frozen=True)
class Loaded:
    """Networks that are ready.

    Args:
        networks: the networks.
        useful_batch: samples of a UNet's call beyond which more gain nothing, by name, where it was measured.
    """

    networks: BatchedNetworks
    useful_batch: Mapping[str, int]


def load_networks(
    source: Source, report: ReportLoading, meter: Meter | None = None, report_paging: ReportLoading = lambda line: None
) -> Loaded:
    """Load the ten networks, call each once in every shape that is worth it, and on a GPU time the UNets.

    Args:
        source: what to load.
        report: receives each step before it begins.
        meter: receives what is loaded and evicted later, if networks share memory.
        report_paging: receives a line about each load then.

    Raises:
        InvalidInput: the runtime or its device is not available, or its memory is too small.
        ContractMismatch: a network fails, or does not answer as the contract and the set's manifest say.
        Busy: there is too little memory, or a network cannot be loaded again.
    """
    loader: Any = importlib.import_module(LOADERS[source.choice.runtime])
    networks: BatchedNetworks = loader.load_in_process(source, report)
    if sharing := source.sharing:
        residency = Residency(networks.pageables, sharing, UNETS, meter, report_paging)
        networks = SharedNetworks(networks, residency)
    gpu_batch = source.unet_batch if source.choice.device == "cuda" else None
    warm_up(networks, report, gpu_batch)
    useful = {}
    for unet in UNETS.values() if gpu_batch else ():
        useful[unet.name] = useful_batch(time_batches(networks, unet, min(gpu_batch or 1, unet.max_batch_size)))
        report(f"{unet.name}: calls of up to {useful[unet.name]} samples pay")
    return Loaded(networks, useful)


def time_batches(
    networks: BatchedNetworks, unet: ModelSpec, largest: int, clock: Callable[[], float] = time.perf_counter
) -> dict[int, float]:
    """Return the seconds of a call with each number of samples, from 1 to the largest, at the usual lengths.

    Args:
        networks: the networks, warm.
        unet: contract of the UNet.
        largest: number of samples.
        clock: monotonic clock, seconds.
    """
    seconds = {}
    for batch in range(1, largest + 1):
        arrays = blank_inputs(unet, networks.sizes, batch, {})
        times = []
        for _ in range(TIMED_CALLS):
            began_s = clock()
            networks(unet, **arrays)
            times.append(clock() - began_s)
        seconds[batch] = min(times)
    return seconds


def useful_batch(seconds: Mapping[int, float]) -> int:
    """Return the smallest batch whose samples take nearly as little time as those of the best one.

    Args:
        seconds: duration of a call by its number of samples; at least one.
    """
    best_s = min(call_s / batch for batch, call_s in seconds.items())
    return min(batch for batch, call_s in seconds.items() if call_s / batch * (1 - LEAST_GAIN) <= best_s)


def warm_up(networks: BatchedNetworks, report: ReportLoading, gpu_batch: int | None) -> None:
    """Call every network on blank inputs: on a CPU once, on a GPU until every shape of usual jobs is captured.

    Args:
        networks: the networks.
        report: receives the name of each network before its first call.
        gpu_batch: samples of the largest call of a UNet on a GPU; None = they run on a CPU.

    Raises:
        ContractMismatch: a network fails, or an output does not have the contract's type, or the shape that the set's
            sizes make it.
        Busy: there is too little memory.
    """
    for place, spec in enumerate(NETWORKS.values(), 1):
        report(f"warming up {spec.name} ({place} of {len(NETWORKS)})")
        for batch, lengths in warm_up_calls(spec, networks.sizes, gpu_batch):
            arrays = blank_inputs(spec, networks.sizes, batch, lengths)
            # At guidance 1 a UNet may run without its unconditional half.
            without = [{**arrays, "guidance": np.ones_like(arrays["guidance"])}] if "guidance" in arrays else []
            for each in (arrays, *without):
                for _ in range(GRAPH_CALLS if gpu_batch else 1):
                    _check_call(networks, spec, each)


def warm_up_calls(spec: ModelSpec, sizes: Sizes, gpu_batch: int | None) -> Iterator[tuple[int, Lengths]]:
    """Yield batch and lengths of each warm-up call; the largest batch first, so that smaller ones fit in its memory."""
    if gpu_batch is None:
        yield 1, {}
    elif spec.name in UNETS:
        yield from ((batch, {}) for batch in range(min(gpu_batch, spec.max_batch_size), 0, -1))
    else:
        # The texts of a job are two: prompt and negative prompt.
        yield from ((2 if spec is CLIP_TEXT else 1, lengths) for lengths in lengths_in_jobs(spec.name, sizes))


def blank_inputs(spec: ModelSpec, sizes: Sizes, batch: int, lengths: Lengths) -> dict[str, Array]:
    """Return inputs of zeros, and of true where a network takes booleans.

    Args:
        spec: contract of the network.
        sizes: image sizes of the set.
        batch: number of samples.
        lengths: lengths of free axes by name; missing ones are the usual ones.
    """
    chosen = usual_lengths(spec, sizes) | lengths
    arrays = {}
    for tensor in spec.inputs:
        shape = (chosen[each.name] if isinstance(each, Axis) else each for each in sizes.shape(tensor.shape))
        dtype = tensor.dtype.numpy
        arrays[tensor.name] = np.full((batch, *shape), dtype == np.bool_, dtype)
    return arrays


def _check_call(networks: BatchedNetworks, spec: ModelSpec, arrays: dict[str, Array]) -> None:
    batch = len(arrays[spec.inputs[0].name])
    try:
        outputs = networks(spec, **arrays)
        for tensor in spec.outputs:
            array = outputs[tensor.name]
            replace(tensor, shape=networks.sizes.shape(tensor.shape)).check(array, batched=True, owner=spec.name)
            if len(array) != batch:
                raise ContractMismatch(f"'{tensor.name}' has {len(array)} samples of {batch}")
    except (ContractMismatch, InternalError) as error:
        raise ContractMismatch(
            f"{spec.name} does not answer with the sizes of the set's manifest ({error}); export the set again"
        ) from error
