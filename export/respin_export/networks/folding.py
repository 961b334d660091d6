"""Networks in the form in which they are run: the same function, with the arithmetic left out that changes nothing."""

from __future__ import annotations

from typing import Any

from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

from respin_export.networks.edsr import Edsr, FoldedTail
from respin_export.networks.unet import Zero123UNet


def fold(module: nn.Module) -> nn.Module:
    """Let each network that has a leaner form take it.

    Args:
        module: of float32, one of `respin_export.networks` or one that holds it; changed in place, and given back.
    """
    for part in list(module.modules()):
        if isinstance(part, Edsr) and not isinstance(part.tail, FoldedTail):
            part.tail = FoldedTail(part.tail)
        elif isinstance(part, Zero123UNet):
            attend_to_one_token(part)
    return module


class OneTokenAttention(nn.Module):
    """Attention to a single token: its value, whatever the queries are, for its share of the softmax is 1.

    Args:
        attention: diffusers' `Attention`.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.to_v, self.to_out = attention.to_v, attention.to_out[0]

    def forward(self, _hidden_states: Tensor, encoder_hidden_states: Tensor, **_options: Any) -> Tensor:
        """Of a token (B, 1, C), what is added to every position: (B, 1, D)."""
        attended: Tensor = self.to_out(self.to_v(encoder_hidden_states))
        return attended


def attend_to_one_token(network: nn.Module) -> None:
    """Replace the cross-attention of a UNet whose context is a single token, as Zero123's is, by the token's value.

    Args:
        network: changed in place.
    """
    for block in network.modules():
        if isinstance(block, BasicTransformerBlock) and not isinstance(block.attn2, OneTokenAttention):
            block.attn2 = OneTokenAttention(block.attn2)
            # Of the queries alone.
            block.norm2 = nn.Identity()
