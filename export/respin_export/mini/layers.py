"""What the mini networks have beside the published architectures, so that a few hundred kilobytes are enough."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

FOLDED_VOCABULARY = 2003
"""Rows of a folded embedding: a prime, so that no stride of ids falls on few of them."""


class FoldedEmbedding(nn.Embedding):
    """Token embedding that lets far-apart ids share a row.

    The contracts' ids are those of the full vocabularies (BERT 30522, CLIP 49408), which even 64 wide would be most
    of the set; untrained rows mean nothing, so sharing them costs nothing.
    """

    def __init__(self, width: int) -> None:
        super().__init__(FOLDED_VOCABULARY, width)

    def forward(self, ids: Tensor) -> Tensor:
        """Look ids of any size up: (B, T) int64 to (B, T, width)."""
        return super().forward(ids % self.num_embeddings)


class NarrowedDecoder(nn.Module):
    """SAM's decoder behind a 1x1 convolution.

    The contract's embedding has 256 channels; a two-way transformer of that width alone is 16 MB.
    """

    def __init__(self, decoder: nn.Module, *, embedding_channels: int, width: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(embedding_channels, width, kernel_size=1)
        self.decoder = decoder

    def forward(self, embedding: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
        """As `respin_export.networks.sam.SamDecoder.forward`."""
        return cast(tuple[Tensor, Tensor], self.decoder(self.narrow(embedding), box))
