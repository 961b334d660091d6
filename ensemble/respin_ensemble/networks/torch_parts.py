"""Parts of networks that PyTorch computes on a GPU in another way than the libraries do, with the same result."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import chain, product
from typing import cast

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoDecoderLayer,
    GroundingDinoEncoderLayer,
    MultiScaleDeformableAttention,
)
from transformers.models.sam.modeling_sam import SamVisionLayer
from transformers.models.swin.modeling_swin import SwinLayer, SwinPatchMerging

from respin_ensemble.networks.torch_graph import Forward

REGIONS = (GroundingDinoEncoderLayer, GroundingDinoDecoderLayer, SwinLayer, SwinPatchMerging, SamVisionLayer)
"""Layers that are compiled one by one, once for all of a kind: GroundingDINO as a whole takes many minutes, and SAM's
24 layers, of two kinds, are traced in a sixth of the time."""

MOST_REGIONS = 64
"""Kinds of one layer that are compiled: Swin's differ by stage, shift and share of dropped paths, and by the shape."""

FEED_FORWARD = 2
"""Rows that go through a feed-forward layer of the inpainting at a time: the two of one sample, which guidance doubles.
All at once, they are half of the scratch memory of eight samples."""


def compile_module(module: nn.Module) -> Forward:
    """Compile a module with torch.compile; the module itself stays as it is.

    Args:
        module: on the device. If it has layers of `REGIONS`, these are compiled one by one, in a copy that shares the
            weights.
    """
    if not any(isinstance(part, REGIONS) for part in module.modules()):
        return cast(Forward, torch.compile(module, dynamic=False))
    torch._dynamo.config.recompile_limit = max(MOST_REGIONS, torch._dynamo.config.recompile_limit)
    twin = _twin(module)
    _sample_by_rows(twin)
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


def _sample_by_rows(module: nn.Module) -> None:
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, MultiScaleDeformableAttention):
                setattr(parent, name, SamplingByRows())


class SamplingByRows(nn.Module):
    """Bilinear sampling of deformable attention, whose points read whole rows of channels.

    In the library's version, neighbouring threads read one channel of distant points, and every sampled value is
    written before they are added up. Only for torch.compile, which makes this one kernel.
    """

    def forward(
        self,
        value: Tensor,
        _spatial_shapes: Tensor,
        sides: Sequence[tuple[int, int]],
        _level_start_index: Tensor,
        locations: Tensor,
        weights: Tensor,
        _im2col_step: int,
    ) -> Tensor:
        """Sample.

        Args:
            value: (B, sum of H x W, heads, C) float32, the levels' cells one after another.
            sides: height and width of each level.
            locations: (B, Q, heads, levels, points, 2) float32, (x, y) as fractions of a level's sides; there
                are zeros beyond 0..1.
            weights: (B, Q, heads, levels, points) float32.

        Returns:
            (B, Q, heads x C) float32.
        """
        batches = torch.arange(value.shape[0], device=value.device)[:, None, None]
        heads = torch.arange(value.shape[2], device=value.device)
        sampled, start = torch.zeros((), dtype=value.dtype, device=value.device), 0
        for level, (height, width) in enumerate(sides):
            x = locations[:, :, :, level, :, 0] * width - 0.5
            y = locations[:, :, :, level, :, 1] * height - 0.5
            for right, below in product((0, 1), (0, 1)):
                column, row = x.floor() + right, y.floor() + below
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                share = (1 - (x - column).abs()) * (1 - (y - row).abs()) * inside * weights[:, :, :, level]
                cell = start + row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
                # One after another: as one sum over a gathered axis, threads would read distant rows side by side.
                for point in range(cell.shape[3]):
                    sampled = sampled + value[batches, cell[..., point], heads] * share[..., point, None]
            start += height * width
        return sampled.flatten(2)
