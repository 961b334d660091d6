"""Fold networks: the same function with less arithmetic."""

from __future__ import annotations

from typing import Any

from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

from respin_export.networks.edsr import Edsr, FoldedTail
from respin_export.networks.unet import Zero123UNet


def fold(module: nn.Module) -> nn.Module:
    """Fold each network that has a leaner form.

    Args:
        module: a float32 module of `respin_export.networks`, or one that contains it; changed in place, and returned.
    """
    for part in list(module.modules()):
        if isinstance(part, Edsr) and not isinstance(part.tail, FoldedTail):
            part.tail = FoldedTail(part.tail)
        elif isinstance(part, Zero123UNet):
            attend_to_one_token(part)
    return module


class OneTokenAttention(nn.Module):
    """Attention to a single token, which returns the token's value: its softmax weight is 1 for any query.

    Args:
        attention: diffusers' `Attention`.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.to_v, self.to_out = attention.to_v, attention.to_out[0]

    def forward(self, _hidden_states: Tensor, encoder_hidden_states: Tensor, **_options: Any) -> Tensor:
        """Return the output for a token (B, 1, C), the same for every position: (B, 1, D)."""
        attended: Tensor = self.to_out(self.to_v(encoder_hidden_states))
        return attended


def attend_to_one_token(network: nn.Module) -> None:
    """Replace the cross-attention of a UNet with a context of one token, such as Zero123's, by the token's value.

    Args:
        network: the UNet; changed in place.
    """
    for block in network.modules():
        if isinstance(block, BasicTransformerBlock) and not isinstance(block.attn2, OneTokenAttention):
            block.attn2 = OneTokenAttention(block.attn2)
            # It normalises the queries only.
            block.norm2 = nn.Identity()
