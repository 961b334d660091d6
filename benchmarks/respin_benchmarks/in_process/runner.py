"""How one PyTorch module is called: eagerly, or as a CUDA graph that was captured from an earlier call."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from respin.specs import Array, ModelSpec
from respin_benchmarks.in_process.torch_parts import Forward, compiled
from respin_ensemble.networks.gate import GPU

MOST_GRAPHS = 16
"""Shapes of a network that get a graph; each holds its own inputs, outputs and a share of scratch memory."""

MOST_COMPILED = 2
"""Shapes of one batch that torch.compile's minutes are spent on: a VAE meets the photo and the view."""

WARM_UPS = 3
"""Calls on the capturing stream before the capture: they choose kernels and allocate what stays."""

Shapes = tuple[tuple[int, ...], ...]


class Lane:
    """Networks that are called one after another, and share what a GPU's scratch memory that allows.

    Args:
        device: "cpu" or "cuda".
        urgent: whether its work goes before that of other lanes.
    """

    def __init__(self, device: str, *, urgent: bool = True) -> None:
        self.lock = threading.Lock()
        on_gpu = device == "cuda"
        self.stream: Any = torch.cuda.Stream(priority=-1 if urgent else 0) if on_gpu else None  # type: ignore[no-untyped-call]
        self.pool: Any = torch.cuda.graph_pool_handle() if on_gpu else None


class Eager:
    """Call a module as it is.

    Args:
        module: on the device, in evaluation mode.
        spec: its contract.
        device: "cpu" or "cuda".
        lane: that it goes in; its own if there is none.
    """

    def __init__(self, module: nn.Module, spec: ModelSpec, device: str, lane: Lane | None = None) -> None:
        self.module, self.spec, self.device = module, spec, device
        self.lane = lane or Lane(device)

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch; arrays in and out lie in the machine's memory."""
        with self.lane.lock, GPU.call(), self.on_stream():
            return self.named(self.forward(self.module, arrays))

    def on_stream(self) -> AbstractContextManager[object]:
        """Work on the lane's own stream."""
        return torch.cuda.stream(self.lane.stream) if self.lane.stream else nullcontext()

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

    def __init__(self, module: nn.Module, spec: ModelSpec, device: str, lane: Lane | None = None) -> None:
        super().__init__(module, spec, device, lane)
        self.uncaptured = "" if device == "cuda" else "there are none on a CPU"
        self.replays: dict[Shapes, Replay] = {}
        self._seen: set[Shapes] = set()

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch."""
        shapes = tuple(array.shape for array in arrays.values())
        with self.lane.lock, self.on_stream():
            again = shapes in self._seen
            self._seen.add(shapes)
            if again and shapes not in self.replays and not self.uncaptured and len(self.replays) < MOST_GRAPHS:
                self._capture(shapes, arrays)
            with GPU.call():
                if replay := self.replays.get(shapes):
                    return dict(zip((tensor.name for tensor in self.spec.outputs), replay(arrays), strict=True))
                return self.named(self.forward(self.forward_for(shapes), arrays))

    def _capture(self, shapes: Shapes, arrays: Mapping[str, Array]) -> None:
        with GPU.capture():
            try:
                self.replays[shapes] = Replay(self.forward_for(shapes), arrays, self.lane)
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
    """As `Graphs`, of what torch.compile makes of the module for the first shapes of some batches.

    Compiling takes up to a minute a shape: other shapes go without.

    Args:
        module: as of `Eager`.
        spec: its contract.
        device: "cpu" or "cuda".
        lane: as of `Eager`.
        batches: numbers of samples to compile for.
    """

    def __init__(
        self,
        module: nn.Module,
        spec: ModelSpec,
        device: str,
        lane: Lane | None = None,
        *,
        batches: Collection[int] = (1,),
    ) -> None:
        super().__init__(module, spec, device, lane)
        self._batches = batches
        self._compiled = compiled(module)
        self._shapes: dict[int, set[Shapes]] = {}

    def forward_for(self, shapes: Shapes) -> Forward:
        """The compiled module for the first shapes of these batches, the plain one for others."""
        batch = shapes[0][0]
        taken = self._shapes.setdefault(batch, set())
        if batch in self._batches and len(taken) < MOST_COMPILED:
            taken.add(shapes)
        return self._compiled if shapes in taken else self.module


class Replay:
    """A captured call: inputs are copied in, the graph runs, outputs are copied out.

    Args:
        forward: the module.
        arrays: inputs of the shapes to capture.
        lane: whose stream it works on; graphs that share its scratch memory never run at the same time.

    Raises:
        RuntimeError: something in the call cannot be captured.
    """

    def __init__(self, forward: Forward, arrays: Mapping[str, Array], lane: Lane) -> None:
        self._inputs = {name: torch.tensor(array, device="cuda") for name, array in arrays.items()}
        self._graph, self._stream = torch.cuda.CUDAGraph(), lane.stream
        with torch.device("cuda"):
            for _ in range(WARM_UPS):
                forward(**self._inputs)
            self._stream.synchronize()
            # The warm-ups' workspace, outside of the pool, must not get into the graph: it may be given back.
            torch._C._cuda_clearCublasWorkspaces()
            # Other networks' threads go on calling CUDA meanwhile.
            with torch.cuda.graph(self._graph, pool=lane.pool, stream=lane.stream, capture_error_mode="thread_local"):
                self._outputs = listed(forward(**self._inputs))
            torch._C._cuda_clearCublasWorkspaces()
        # What lies in pageable memory is copied twice, and the second time slowly.
        self._sent, self._received = _pinned(self._inputs.values()), _pinned(self._outputs)

    def __call__(self, arrays: Mapping[str, Array]) -> list[Array]:
        """Run it on these inputs."""
        for array, sent, given in zip(arrays.values(), self._sent, self._inputs.values(), strict=True):
            np.copyto(sent.numpy(), array)
            given.copy_(sent, non_blocking=True)
        self._graph.replay()
        for output, received in zip(self._outputs, self._received, strict=True):
            received.copy_(output, non_blocking=True)
        self._stream.synchronize()
        return [received.numpy().copy() for received in self._received]

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


def _pinned(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True) for tensor in tensors]


def listed(outputs: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """A module's outputs, however many."""
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
