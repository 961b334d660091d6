"""Parts of networks that PyTorch computes on a GPU in another way than the libraries do, with the same result."""

from __future__ import annotations

import copy
from itertools import chain
from typing import cast

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import nn
from transformers.models.sam.modeling_sam import SamVisionLayer

from respin_ensemble.networks.torch_graph import Forward

REGIONS = (SamVisionLayer,)
"""Layers that are compiled one by one, once for all of a kind: SAM's 24, of two kinds, are traced in a sixth of the
time."""

MOST_REGIONS = 64
"""Shapes and modules that the code of one class is compiled for; beyond, PyTorch runs it as it is."""

FEED_FORWARD = 2
"""Rows that go through a feed-forward layer of the inpainting at a time: the two of one sample, which guidance doubles.
All at once, they are half of the scratch memory of eight samples."""


def compile_module(module: nn.Module) -> Forward:
    """Compile a module with torch.compile; the module itself stays as it is.

    Args:
        module: on the device. If it has layers of `REGIONS`, these are compiled one by one, in a copy that shares the
            weights.
    """
    # Modules of one class count together: both UNets, with and without guidance, by batch.
    torch._dynamo.config.recompile_limit = max(MOST_REGIONS, torch._dynamo.config.recompile_limit)
    if not any(isinstance(part, REGIONS) for part in module.modules()):
        return cast(Forward, torch.compile(module, dynamic=False))
    twin = _twin(module)
    for part in twin.modules():
        if isinstance(part, REGIONS):
            part.compile(dynamic=False)
    return twin


def _twin(module: nn.Module) -> nn.Module:
    """Return a copy of a module that shares its weights."""
    shared = {id(tensor): tensor for tensor in chain(module.parameters(), module.buffers())}
    return copy.deepcopy(module, shared)


def twin_by_rows(module: nn.Module) -> nn.Module:
    """Return a copy of the inpainting's UNet that shares its weights, and whose feed-forward layers go row by row.

    Args:
        module: the UNet, with its feed-forward layers chunked or not.
    """
    twin = _twin(module)
    for block in twin.modules():
        if isinstance(block, BasicTransformerBlock):
            block.set_chunk_feed_forward(1)
    return twin


def chunk_feed_forward(module: nn.Module) -> None:
    """Let the feed-forward layers of the inpainting's UNet go sample by sample, which takes less scratch memory.

    Args:
        module: changed in place.
    """
    for block in module.modules():
        if isinstance(block, BasicTransformerBlock):
            block.set_chunk_feed_forward(FEED_FORWARD)
