"""Layers of the mini networks that keep their files small."""

from __future__ import annotations

from torch import Tensor, nn

FOLDED_VOCABULARY = 2003
"""Number of rows of a folded embedding: a prime, so that ids at a regular stride use all rows."""


class FoldedEmbedding(nn.Embedding):
    """A token embedding in which distant ids share a row.

    The contracts' ids are those of the full vocabularies (BERT 30522, CLIP 49408), which would be
    most of the set even at a width of 64; the text tower is not trained, so sharing rows costs nothing.
    """

    def __init__(self, width: int) -> None:
        super().__init__(FOLDED_VOCABULARY, width)

    def forward(self, ids: Tensor) -> Tensor:
        """Look up ids of any size: (B, T) int64 to (B, T, width)."""
        return super().forward(ids % self.num_embeddings)
