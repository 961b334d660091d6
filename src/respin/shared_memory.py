"""Shared memory that a server needs in /dev/shm, where Triton and its Python models exchange tensors."""

from __future__ import annotations

from collections.abc import Collection

from respin.contracts import ROTATE_OBJECT_STREAM

STUB_MIB = 16
"""Initial size and growth of the region of a model's process: Triton's own 1 MiB would grow with nearly every image."""

PHOTOS_MIB = 512
"""For photos, their pictures and the tensors in between: a cut-out of 24 megapixels takes some 180 MiB (measured)."""


def needed_mib(models: Collection[str]) -> int:
    """Return how many MiB of /dev/shm must be free to serve these models.

    A server that finds less does not fail: what it cannot allocate hangs in Triton 2.51.
    """
    return len(models) * STUB_MIB + (PHOTOS_MIB if ROTATE_OBJECT_STREAM.name in models else 0)
