"""Whether PyTorch can compute on a GPU here."""

from __future__ import annotations

import importlib.util


def has_cuda() -> bool:
    """Return whether PyTorch is installed and sees a CUDA device."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch  # noqa: PLC0415 (takes seconds)

    return torch.cuda.is_available()
