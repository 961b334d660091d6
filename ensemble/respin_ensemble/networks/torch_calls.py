"""Calls of one PyTorch module: eager, or as a CUDA graph that was captured from an earlier call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from respin.specs import Array, ModelSpec
from respin_ensemble.networks.gate import GPU
from respin_ensemble.networks.torch_graph import CapturedCall, Forward, Lane, as_list

MOST_GRAPHS = 16
"""Shapes of a network that get a graph; each holds its own inputs, outputs and a share of scratch memory."""

Shapes = tuple[tuple[int, ...], ...]


class EagerCall:
    """A module that is called as it is.

    Args:
        module: on the device, in evaluation mode.
        spec: its contract.
        device: "cpu" or "cuda".
        lane: whose stream it uses; None = one of its own.
    """

    def __init__(self, module: nn.Module, spec: ModelSpec, device: str, lane: Lane | None = None) -> None:
        self.module, self.spec, self.device = module, spec, device
        self.lane = lane or Lane(device)

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch of arrays in the machine's memory."""
        with self.lane.lock, GPU.call(), self.on_stream():
            return self.to_arrays(self.forward(self.module, arrays))

    def on_stream(self) -> AbstractContextManager[object]:
        """Return a context in which work goes to the lane's stream."""
        return torch.cuda.stream(self.lane.stream) if self.lane.stream else nullcontext()

    def forward(self, module: Forward, arrays: Mapping[str, Array]) -> list[Tensor]:
        """Copy the inputs to the device and call the module."""
        return as_list(module(**{name: torch.tensor(array, device=self.device) for name, array in arrays.items()}))

    def to_arrays(self, outputs: Sequence[Tensor]) -> dict[str, Array]:
        """Return outputs as arrays, by the contract's names."""
        return {tensor.name: output.cpu().numpy() for tensor, output in zip(self.spec.outputs, outputs, strict=True)}


class GraphedCall(EagerCall):
    """A module whose call is captured as a CUDA graph for each shape that comes a second time.

    `uncaptured` is the reason why a network has no graphs; empty if it has.
    """

    def __init__(self, module: nn.Module, spec: ModelSpec, device: str, lane: Lane | None = None) -> None:
        super().__init__(module, spec, device, lane)
        self.uncaptured = "" if device == "cuda" else "there are none on a CPU"
        self.replays: dict[Shapes, CapturedCall] = {}
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
                return self.to_arrays(self.forward(self.forward_for(shapes), arrays))

    def _capture(self, shapes: Shapes, arrays: Mapping[str, Array]) -> None:
        with GPU.capture():
            try:
                self.replays[shapes] = CapturedCall(self.forward_for(shapes), arrays, self.lane)
            except RuntimeError as error:
                self.uncaptured = str(error).partition("\n")[0]

    def forward(self, module: Forward, arrays: Mapping[str, Array]) -> list[Tensor]:
        """Call eagerly, with the device as the default for tensors that a library creates."""
        with torch.device(self.device):
            return super().forward(module, arrays)

    def forward_for(self, shapes: Shapes) -> Forward:
        """Return what is called, and captured, for these shapes."""
        return self.module


class Unguided(nn.Module):
    """A UNet without its unconditional half, for calls whose samples all have guidance 1.

    Args:
        unet: a module with a method `predict_conditional`, which takes the inputs but the guidance.
    """

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self._unet = unet

    def forward(self, guidance: Tensor, **inputs: Tensor) -> Tensor:
        """Predict the noise; the guidance is 1."""
        noise: Tensor = self._unet.predict_conditional(**inputs)
        return noise
