"""The mini set's EDSR: the paper's class, small, and the leaner form of it that is trained.

The three convolutions of EDSR's tail have only shuffles between them, so a single one of 3 x 3 for all 48 outputs of a
pixel can replace them, at a third of the arithmetic. `TrainedEdsr` learns that one; `to_edsr` writes it into the three.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from respin_export.networks.edsr import DIV2K_MEAN, SCALE, Edsr

EDSR: dict[str, Any] = {"blocks": 12, "features": 32, "residual_scale": 1.0}

LEVELS = 127.5
"""Levels of RGB that are 1 inside the trained network."""

COLOURS = 3


class TrainedEdsr(nn.Module):
    """EDSR with a tail of one convolution, on colours of about unit range.

    Before training it enlarges bilinearly: the head copies the colours, the body adds zero.
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        edsr = Edsr(**EDSR)
        self.head: nn.Sequential = edsr.head
        self.body: nn.Sequential = edsr.body
        self.tail = nn.Conv2d(EDSR["features"], COLOURS * SCALE**2, kernel_size=3, padding=1)
        self.register_buffer("mean", 255 * torch.tensor(DIV2K_MEAN)[:, None, None], persistent=False)
        self._interpolate()

    @torch.no_grad()
    def _interpolate(self) -> None:
        first, last = _weights(self.head[0]), _weights(self.body[-1])
        tail = _weights(self.tail)
        for _, bias in (first, last, tail):
            bias.zero_()
        for colour in range(COLOURS):
            first[0][colour] = _pass_on(COLOURS, colour)
        last[0][:COLOURS] = 0
        tail[0].zero_()
        kernels = _bilinear_kernels()
        for colour in range(COLOURS):
            tail[0][colour * SCALE**2 : (colour + 1) * SCALE**2, colour] = kernels

    def forward(self, image: Tensor) -> Tensor:
        """Enlarge pictures like `respin_export.networks.edsr.Edsr`; in training, the body computes in bfloat16."""
        features = self.head((image - self.mean) / LEVELS)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.training):
            residual = self.body(features)
        enlarged: Tensor = F.pixel_shuffle(self.tail(features + residual.float()), SCALE)
        return enlarged * LEVELS + self.mean


@torch.no_grad()
def to_edsr(trained: TrainedEdsr) -> Edsr:
    """Write trained weights into the class of the contract, which computes the same.

    The tail's first convolution computes 12 numbers for each of 2 x 2 pixels; its second distributes them to 4 x 4, and
    its third copies three channels.
    """
    edsr = Edsr(**EDSR)
    edsr.head.load_state_dict(trained.head.state_dict())
    _weights(edsr.head[0])[0].div_(LEVELS)
    edsr.body.load_state_dict(trained.body.state_dict())
    finest = _weights(trained.tail)
    upsampler = edsr.tail.get_submodule("0")
    halves, quarters, last = (
        _weights(each)
        for each in (upsampler.get_submodule("0"), upsampler.get_submodule("2"), edsr.tail.get_submodule("1"))
    )
    for weight, bias in (halves, quarters, last):
        weight.zero_()
        bias.zero_()
    for output in range(COLOURS * SCALE**2):
        colour, row, column = output // SCALE**2, output // SCALE % SCALE, output % SCALE
        # The finer pixel within one of 2 x 2, and that one within the pixel.
        channel = colour * 4 + row % 2 * 2 + column % 2
        place = row // 2 * 2 + column // 2
        for target, source in zip(halves, finest, strict=True):
            target[channel * 4 + place] = source[output]
    for channel in range(COLOURS * 4):
        quarters[0][channel] = _pass_on(EDSR["features"], channel)
    for colour in range(COLOURS):
        last[0][colour] = _pass_on(EDSR["features"], colour) * LEVELS
    return edsr


def _weights(convolution: nn.Module) -> tuple[Tensor, Tensor]:
    """Return kernels and biases of a convolution."""
    return convolution.get_parameter("weight"), convolution.get_parameter("bias")


def _pass_on(channels: int, channel: int) -> Tensor:
    """Return the kernel (C, 3, 3) that copies one channel."""
    kernel = torch.zeros(channels, 3, 3)
    kernel[channel, 1, 1] = 1
    return kernel


def _bilinear_kernels() -> Tensor:
    """Return the kernels (16, 3, 3) of bilinear enlargement, in `pixel_shuffle`'s order."""
    offsets = (torch.arange(SCALE) + 0.5) / SCALE - 0.5
    weights = (1 - (offsets[:, None] - torch.tensor([-1.0, 0.0, 1.0])).abs()).clamp(min=0)
    return torch.einsum("yi,xj->yxij", weights, weights).flatten(0, 1)
