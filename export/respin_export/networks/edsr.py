"""EDSR x4 (Lim et al. 2017), with the parameter names of sanghyun-son/EDSR-PyTorch's checkpoints."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean RGB of the training pictures, as shares of 255."""


class Edsr(nn.Module):
    """The network of the contract `edsr`.

    Args:
        blocks: residual blocks; 32 in the paper's model, 16 in the baseline.
        features: channels; 256 and 64.
        residual_scale: of each block's branch; 0.1 and 1.
    """

    def __init__(self, *, blocks: int, features: int, residual_scale: float) -> None:
        super().__init__()
        self.sub_mean = _MeanShift(-1)
        self.add_mean = _MeanShift(1)
        self.head = nn.Sequential(_conv(3, features))
        self.body = nn.Sequential(
            *(_ResidualBlock(features, residual_scale) for _ in range(blocks)), _conv(features, features)
        )
        self.tail = nn.Sequential(_upsampler(features), _conv(features, 3))

    def forward(self, image: Tensor) -> Tensor:
        """Enlarge pictures four times.

        Args:
            image: (B, 3, H, W) float32, RGB, 0..255.

        Returns:
            (B, 3, 4H, 4W) float32, RGB, about 0..255, not clamped.
        """
        features = self.head(self.sub_mean(image))
        features = features + self.body(features)
        return cast(Tensor, self.add_mean(self.tail(features)))


class _MeanShift(nn.Conv2d):
    """Adds or takes away the mean colour; a convolution because the checkpoints hold it as one."""

    def __init__(self, sign: int) -> None:
        super().__init__(3, 3, kernel_size=1)
        with torch.no_grad():
            self.weight.copy_(torch.eye(3)[:, :, None, None])
            cast(Tensor, self.bias).copy_(sign * 255 * torch.tensor(DIV2K_MEAN))


class _ResidualBlock(nn.Module):
    def __init__(self, features: int, residual_scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(features, features), nn.ReLU(), _conv(features, features))
        self.residual_scale = residual_scale

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.residual_scale * self.body(x))


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def _upsampler(features: int) -> nn.Sequential:
    """Two times x2: the scale of 4 was trained so."""
    return nn.Sequential(
        _conv(features, 4 * features), nn.PixelShuffle(2), _conv(features, 4 * features), nn.PixelShuffle(2)
    )
