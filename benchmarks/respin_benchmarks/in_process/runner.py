"""How one PyTorch module is called: eagerly, or as a CUDA graph that was captured from an earlier call."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from respin.specs import Array, ModelSpec
from respin_benchmarks.in_process.gate import Gate

MOST_GRAPHS = 16
"""Shapes of a network that get a graph; each holds its own inputs, outputs and a share of scratch memory."""

WARM_UPS = 3
"""Calls on the capturing stream before the capture: they choose kernels and allocate what stays."""

GATE = Gate()
"""Of this process's GPU."""

Shapes = tuple[tuple[int, ...], ...]
Forward = Callable[..., Tensor | Sequence[Tensor]]


class Eager:
    """Call a module as it is, one thread at a time.

    Args:
        module: on the device, in evaluation mode.
        spec: its contract.
        device: "cpu" or "cuda".
    """

    def __init__(self, module: nn.Module, spec: ModelSpec, device: str) -> None:
        self.module, self.spec, self.device = module, spec, device
        self.lock = threading.Lock()
        self.stream: Any = torch.cuda.Stream() if device == "cuda" else None  # type: ignore[no-untyped-call]
        """Of its own, so that one network's call does not wait for another's."""

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch; arrays in and out lie in the machine's memory."""
        with self.lock, GATE.call(), self.on_stream():
            return self.named(self.forward(self.module, arrays))

    def on_stream(self) -> AbstractContextManager[object]:
        """Work on the network's own stream."""
        return torch.cuda.stream(self.stream) if self.stream else nullcontext()

    def forward(self, module: Forward, arrays: Mapping[str, Array]) -> list[Tensor]:
        """Copy inputs to the device and call."""
        return listed(module(**{name: torch.tensor(array, device=self.device) for name, array in arrays.items()}))

    def named(self, outputs: Sequence[Tensor]) -> dict[str, Array]:
        """Outputs in the machine's memory, by the contract's names."""
        return {tensor.name: output.cpu().numpy() for tensor, output in zip(self.spec.outputs, outputs, strict=True)}


class Graphs(Eager):
    """Replay a CUDA graph for each shape that comes a second time: no kernel launch costs Python anything.

    `uncaptured` says why a network has no graphs, where it has none.
    """

    def __init__(self, module: nn.Module, spec: ModelSpec, device: str) -> None:
        super().__init__(module, spec, device)
        self.uncaptured = "" if device == "cuda" else "there are none on a CPU"
        self.replays: dict[Shapes, Replay] = {}
        self._seen: set[Shapes] = set()
        self._pool = torch.cuda.graph_pool_handle() if device == "cuda" else None

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch."""
        shapes = tuple(array.shape for array in arrays.values())
        with self.lock, self.on_stream():
            again = shapes in self._seen
            self._seen.add(shapes)
            if again and shapes not in self.replays and not self.uncaptured and len(self.replays) < MOST_GRAPHS:
                self._capture(shapes, arrays)
            with GATE.call():
                replay = self.replays.get(shapes)
                return self.named(replay(arrays) if replay else self.forward(self.forward_for(shapes), arrays))

    def _capture(self, shapes: Shapes, arrays: Mapping[str, Array]) -> None:
        with GATE.capture():
            try:
                self.replays[shapes] = Replay(self.forward_for(shapes), arrays, self.stream, self._pool)
            except RuntimeError as error:
                self.uncaptured = str(error).partition("\n")[0]

    def forward(self, module: Forward, arrays: Mapping[str, Array]) -> list[Tensor]:
        """As an eager call, but what a library makes on the CPU by default is made on the device."""
        with torch.device(self.device):
            return super().forward(module, arrays)

    def forward_for(self, shapes: Shapes) -> Forward:
        """What is called, and captured, for these shapes."""
        return self.module


class CompiledGraphs(Graphs):
    """As `Graphs`, of what torch.compile makes of the module for the first shape of some batches.

    Compiling takes up to a minute a shape: other shapes go without.

    Args:
        module: as of `Eager`.
        spec: its contract.
        device: "cpu" or "cuda".
        batches: numbers of samples to compile for.
    """

    def __init__(self, module: nn.Module, spec: ModelSpec, device: str, batches: tuple[int, ...]) -> None:
        super().__init__(module, spec, device)
        self._batches = batches
        self._compiled: Forward = torch.compile(module, dynamic=False)
        self._shapes: dict[int, Shapes] = {}

    def forward_for(self, shapes: Shapes) -> Forward:
        """The compiled module for the first shape of these batches, the plain one for others."""
        batch = shapes[0][0]
        if batch in self._batches:
            self._shapes.setdefault(batch, shapes)
        return self._compiled if shapes == self._shapes.get(batch) else self.module


class Replay:
    """A captured call: inputs are copied in, the graph runs, outputs are read.

    Args:
        forward: the module.
        arrays: inputs of the shapes to capture.
        stream: to work on.
        pool: of scratch memory, shared by graphs that never run at the same time.

    Raises:
        RuntimeError: something in the call cannot be captured.
    """

    def __init__(self, forward: Forward, arrays: Mapping[str, Array], stream: Any, pool: Any) -> None:
        self._inputs = {name: torch.tensor(array, device="cuda") for name, array in arrays.items()}
        self._graph = torch.cuda.CUDAGraph()
        with torch.device("cuda"):
            for _ in range(WARM_UPS):
                forward(**self._inputs)
            torch.cuda.current_stream().synchronize()
            # Other networks' threads go on calling CUDA meanwhile.
            with torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                self._outputs = listed(forward(**self._inputs))

    def __call__(self, arrays: Mapping[str, Array]) -> list[Tensor]:
        """Run it on these inputs; the outputs are overwritten by the next call."""
        for name, array in arrays.items():
            self._inputs[name].copy_(torch.tensor(array))
        self._graph.replay()
        return self._outputs

    def device_ms(self, calls: int) -> float:
        """What a replay takes on the device, median in ms."""
        times: list[float] = []
        for _ in range(calls):
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            began.record()
            self._graph.replay()
            ended.record()
            ended.synchronize()
            times.append(began.elapsed_time(ended))
        return statistics.median(times)


def listed(outputs: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """A module's outputs, however many."""
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
