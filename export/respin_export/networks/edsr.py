"""EDSR x4 (Lim et al. 2017), with the parameter names of sanghyun-son/EDSR-PyTorch's checkpoints."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean RGB of the training pictures, as shares of 255."""

SCALE = 4
"""Factor by which each side of a picture grows."""

EDGE = 3
"""Number of feature rows that the four outermost rows of a picture depend on."""


class Edsr(nn.Module):
    """The network of the contract `edsr`.

    Args:
        blocks: number of residual blocks; 32 in the paper's model, 16 in the baseline.
        features: number of channels; 256 and 64.
        residual_scale: factor of each block's branch; 0.1 and 1.
    """

    def __init__(self, *, blocks: int, features: int, residual_scale: float) -> None:
        super().__init__()
        self.sub_mean = _MeanShift(-1)
        self.add_mean = _MeanShift(1)
        self.head = nn.Sequential(_conv(3, features))
        self.body = nn.Sequential(
            *(_ResidualBlock(features, residual_scale) for _ in range(blocks)), _conv(features, features)
        )
        self.tail: nn.Module = nn.Sequential(_upsampler(features), _conv(features, 3))

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


class FoldedTail(nn.Module):
    """The tail of an `Edsr` as one convolution at the small size and one shuffle.

    Its three convolutions have only shuffles between them, so together they are one linear map, except within four
    pixels of the border, because each pads its input with zeros. There the original tail runs, on three rows or
    columns. This saves a fifth of the network's arithmetic, and the maps of two and four times the size.

    Args:
        tail: tail of an `Edsr`, in float32, with 3 x 3 kernels.
    """

    def __init__(self, tail: nn.Module) -> None:
        super().__init__()
        kernel, bias = _as_one_convolution(tail)
        outputs, inputs, side, _ = kernel.shape
        self.tail = tail
        self.inner = nn.Conv2d(inputs, outputs, side, padding=side // 2)
        with torch.no_grad():
            self.inner.weight.copy_(kernel)
            cast(Tensor, self.inner.bias).copy_(bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W), H and W at least 3, to (B, 3, 4H, 4W)."""
        inner = F.pixel_shuffle(self.inner(features), SCALE)[:, :, SCALE:-SCALE, SCALE:-SCALE]
        top = self.tail(features[:, :, :EDGE])[:, :, :SCALE]
        bottom = self.tail(features[:, :, -EDGE:])[:, :, -SCALE:]
        left = self.tail(features[:, :, :, :EDGE])[:, :, SCALE:-SCALE, :SCALE]
        right = self.tail(features[:, :, :, -EDGE:])[:, :, SCALE:-SCALE, -SCALE:]
        return torch.cat([top, torch.cat([left, inner, right], dim=3), bottom], dim=2)


def _as_one_convolution(tail: nn.Module) -> tuple[Tensor, Tensor]:
    """Return kernel (48, C, 5, 5) and bias (48,) float64, outputs in `pixel_shuffle`'s order.

    They are the 48 outputs of the middle cell of 5 x 5 for zero features, and their derivatives.
    """
    # A caller's inference mode has no derivatives.
    with torch.inference_mode(False), torch.enable_grad():
        exact: Any = copy.deepcopy(tail).double()
        outputs = exact[-1].out_channels * SCALE**2
        features = torch.zeros(outputs, exact[-1].in_channels, 5, 5, dtype=torch.float64, requires_grad=True)
        numbers = F.pixel_unshuffle(exact(features), SCALE)[:, :, 2, 2].diagonal()
        (kernel,) = torch.autograd.grad(numbers.sum(), features)
        return kernel, numbers.detach()


class _MeanShift(nn.Conv2d):
    """A layer that adds or subtracts the mean colour; a convolution, as in the checkpoints."""

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
    """Return two upsamplings by 2, as the network for scale 4 was trained."""
    return nn.Sequential(
        _conv(features, 4 * features), nn.PixelShuffle(2), _conv(features, 4 * features), nn.PixelShuffle(2)
    )
