"""Similarity of pictures, for the curves of a training run. Pictures are (N, 3, H, W) in -1..1."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def psnr(got: Tensor, wanted: Tensor, mask: Tensor | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB of all pictures, or of the pixels of a mask (N, 1, H, W)."""
    error = ((got - wanted) ** 2).mean(dim=1, keepdim=True)
    mean = error.mean() if mask is None else (error * mask).sum() / mask.sum().clamp(min=1)
    return 10 * math.log10(4 / max(mean.item(), 1e-12))


def colour_error(got: Tensor, wanted: Tensor, mask: Tensor) -> float:
    """Return the mean absolute difference of the mean colours on a mask (N, 1, H, W), in levels of 0..255."""
    area = mask.sum(dim=(2, 3)).clamp(min=1)
    difference = ((got - wanted) * mask).sum(dim=(2, 3)) / area
    return 127.5 * difference.abs().mean().item()


def silhouette_iou(got: Tensor, mask: Tensor, level: float = 24.0) -> float:
    """Return the mean IoU of a mask and the pixels that are darker than white by `level` of 255 in any channel."""
    shown = (255 - (got.amin(dim=1, keepdim=True) + 1) * 127.5) > level
    wanted = mask > 0.5
    both = (shown & wanted).sum(dim=(1, 2, 3)).float()
    either = (shown | wanted).sum(dim=(1, 2, 3)).float().clamp(min=1)
    return torch.mean(both / either).item()
