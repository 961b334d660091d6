"""A PyTorch module whose weights go to the device and back: see `respin_ensemble.networks.residency`."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn

from respin_ensemble.networks.gate import GPU

WITHOUT_GRAPHS = "its memory is given up and taken again: a graph would go on reading the old addresses"
"""Why networks that share memory are called without CUDA graphs (`GraphedCall.uncaptured`). Memory at fixed addresses
would keep graphs valid, and could not be lent to another network."""


class PagedModule:
    """A module that is the same object before and after; its weights stay in the machine's memory all the time.

    Args:
        module: on the CPU. Modules that share its parameters share the change too.
        device: "cpu" (where loading makes a copy, as on a GPU) or "cuda".
    """

    def __init__(self, module: nn.Module, device: str) -> None:
        self._device = device
        self._tensors = list(chain(module.parameters(), module.buffers()))
        # The GPU reads pinned memory directly, several times as fast.
        self._kept = [each.data.pin_memory() if device == "cuda" else each.data for each in self._tensors]
        self.unload()

    def load(self) -> None:
        """Copy the weights to the device."""
        with GPU.call():
            for tensor, kept in zip(self._tensors, self._kept, strict=True):
                tensor.data = kept.to(self._device, non_blocking=True, copy=True)
            if self._device == "cuda":
                # Calls run on streams of their own.
                torch.cuda.current_stream().synchronize()

    def unload(self) -> None:
        """Free the memory of the weights, and what PyTorch keeps of that of the calls."""
        for tensor, kept in zip(self._tensors, self._kept, strict=True):
            tensor.data = kept
        if self._device == "cuda":
            with GPU.call():
                torch.cuda.empty_cache()
