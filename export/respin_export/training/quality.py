"""How close pictures are, for the curves of a training run. Pictures are (N, 3, H, W) in -1..1."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def psnr(got: Tensor, wanted: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB over all pictures, or over the pixels of a mask (N, 1, H, W) alone."""
    error = ((got - wanted) ** 2).mean(dim=1, keepdim=True)
    mean = error.mean() if mask is None else (error * mask).sum() / mask.sum().clamp(min=1)
    return 10 * math.log10(4 / max(mean.item(), 1e-12))


def colour_error(got: Tensor, wanted: Tensor, mask: Tensor) -> float:
    """Mean absolute difference of the mean colours on a mask (N, 1, H, W), in levels of 0..255."""
    area = mask.sum(dim=(2, 3)).clamp(min=1)
    difference = ((got - wanted) * mask).sum(dim=(2, 3)) / area
    return 127.5 * difference.abs().mean().item()


def silhouette_iou(got: Tensor, mask: Tensor, level: float = 24.0) -> float:
    """Mean intersection over union of what is darker than white by `level` of 255 in any channel with a mask."""
    shown = (255 - (got.amin(dim=1, keepdim=True) + 1) * 127.5) > level
    wanted = mask > 0.5
    both = (shown & wanted).sum(dim=(1, 2, 3)).float()
    either = (shown | wanted).sum(dim=(1, 2, 3)).float().clamp(min=1)
    return torch.mean(both / either).item()
