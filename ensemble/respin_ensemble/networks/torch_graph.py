"""One call of a PyTorch module as a CUDA graph, and the copies to the device and back that it needs."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from respin.specs import Array
from respin_ensemble.networks.call_inputs import CallInputs, Slot

Forward = Callable[..., Tensor | Sequence[Tensor]]

WARM_UPS = 3
"""Calls on the capturing stream before the capture: they choose kernels and allocate what stays."""


class Lane:
    """A stream for networks that are called one after another and share scratch memory on the GPU.

    Args:
        device: "cpu" or "cuda".
        urgent: whether its work goes before that of other lanes.
    """

    def __init__(self, device: str, *, urgent: bool = True) -> None:
        self.lock, self.device = threading.Lock(), device
        on_gpu = device == "cuda"
        self.stream: Any = torch.cuda.Stream(priority=-1 if urgent else 0) if on_gpu else None  # type: ignore[no-untyped-call]
        self.pool: Any = torch.cuda.graph_pool_handle() if on_gpu else None


class Transfers:
    """Copies between the machine's memory and the device, on the stream of a lane.

    Args:
        lane: the lane.
    """

    def __init__(self, lane: Lane) -> None:
        self.lane = lane

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Begin to copy a tensor to or from the device."""
        target.copy_(source, non_blocking=True)

    def synchronize(self) -> None:
        """Wait until everything that was begun is done."""
        if self.lane.stream is not None:
            self.lane.stream.synchronize()

    def new_block(self, nbytes: int) -> TorchBlock:
        """Return a block of so many bytes."""
        return TorchBlock(nbytes, self)

    def host_tensor(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return memory that the device reads and writes directly: pageable memory is copied twice, slowly."""
        return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=self.lane.device == "cuda")


class TorchBlock:
    """Bytes in pinned memory, and as many on the device: see `call_inputs.Block`.

    Args:
        nbytes: their number.
        transfers: copies them.
    """

    def __init__(self, nbytes: int, transfers: Transfers) -> None:
        self._transfers = transfers
        self._pinned = transfers.host_tensor((nbytes,), torch.uint8)
        self._device = torch.empty(nbytes, dtype=torch.uint8, device=transfers.lane.device)
        self.host = self._pinned.numpy()

    def send(self) -> None:
        """Begin to copy the bytes to the device."""
        self._transfers.copy(self._device, self._pinned)

    def tensor(self, slot: Slot) -> Tensor:
        """Return an input of this block, on the device."""
        part = self._device[slot.offset : slot.offset + slot.nbytes]
        return part.view(getattr(torch, slot.dtype.name)).view(slot.shape)


class CapturedCall:
    """A CUDA graph of one call: inputs are copied in, the graph runs, outputs are copied out.

    On a CPU the module itself takes the graph's place.

    Args:
        forward: the module.
        arrays: inputs of the shapes to capture.
        lane: whose stream it works on; graphs that share its scratch memory never run at the same time.
        transfers: copies inputs and outputs; None = on the lane's stream.

    Raises:
        RuntimeError: something in the call cannot be captured.
    """

    def __init__(
        self, forward: Forward, arrays: Mapping[str, Array], lane: Lane, transfers: Transfers | None = None
    ) -> None:
        self._transfers = transfers or Transfers(lane)
        self._inputs = CallInputs(arrays, self._transfers.new_block)
        self._inputs.send(arrays)
        given = {name: part.block.tensor(slot) for part in self._inputs.parts for name, slot in part.slots.items()}
        call = partial(forward, **{name: given[name] for name in arrays})
        self._graph: Any = None
        self._outputs = self._capture(call, lane) if lane.device == "cuda" else as_list(call())
        self._call = call
        self._received = [self._transfers.host_tensor(output.shape, output.dtype) for output in self._outputs]

    def _capture(self, call: Forward, lane: Lane) -> list[Tensor]:
        self._graph = torch.cuda.CUDAGraph()
        with torch.device("cuda"):
            for _ in range(WARM_UPS):
                call()
            lane.stream.synchronize()
            # The warm-ups' workspace, outside of the pool, must not get into the graph: it may be given back.
            torch._C._cuda_clearCublasWorkspaces()
            # Other networks' threads go on calling CUDA meanwhile.
            with torch.cuda.graph(self._graph, pool=lane.pool, stream=lane.stream, capture_error_mode="thread_local"):
                outputs = as_list(call())
            torch._C._cuda_clearCublasWorkspaces()
        return outputs

    def __call__(self, arrays: Mapping[str, Array]) -> list[Array]:
        """Run it on these inputs."""
        try:
            self._inputs.send(arrays)
            self._replay()
            for output, received in zip(self._outputs, self._received, strict=True):
                self._transfers.copy(received, output)
            self._transfers.synchronize()
        except BaseException:
            self._inputs.forget()
            raise
        return [received.numpy().copy() for received in self._received]

    def _replay(self) -> None:
        if self._graph is not None:
            self._graph.replay()
        else:
            self._outputs = as_list(self._call())

    def device_ms(self, calls: int) -> float:
        """Measure a replay on the device; the median in ms."""
        times: list[float] = []
        for _ in range(calls):
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            began.record()
            self._graph.replay()
            ended.record()
            ended.synchronize()
            times.append(began.elapsed_time(ended))
        return statistics.median(times)


def as_list(outputs: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Return a module's outputs as a list, also if there is only one."""
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
