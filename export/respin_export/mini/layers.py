"""What the mini networks have beside the published architectures, so that a few hundred kilobytes are enough."""

from __future__ import annotations

from torch import Tensor, nn

FOLDED_VOCABULARY = 2003
"""Rows of a folded embedding: a prime, so that no stride of ids falls on few of them."""


class FoldedEmbedding(nn.Embedding):
    """Token embedding that lets far-apart ids share a row.

    The contracts' ids are those of the full vocabularies (BERT 30522, CLIP 49408), which even 64 wide would be most
    of the set; the text tower is not trained, so sharing rows costs nothing.
    """

    def __init__(self, width: int) -> None:
        super().__init__(FOLDED_VOCABULARY, width)

    def forward(self, ids: Tensor) -> Tensor:
        """Look ids of any size up: (B, T) int64 to (B, T, width)."""
        return super().forward(ids % self.num_embeddings)
