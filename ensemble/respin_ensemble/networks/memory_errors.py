"""Failures for want of memory, for which ONNX Runtime, TensorRT, PyTorch and CUDA have no common class."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator

_WORDS = re.compile(
    r"out of memory|not enough memory|can't allocate memory|failed to allocate memory|bad[_ ]alloc", re.IGNORECASE
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or one that it was raised from, says that memory could not be allocated."""
    return any(
        isinstance(each, MemoryError) or type(each).__name__ == "OutOfMemoryError" or _WORDS.search(str(each))
        for each in _chain(error)
    )


def release_frames(error: BaseException) -> None:
    """Release the tensors of a failed call: an error keeps the local variables of the functions that it ended."""
    for each in _chain(error):
        traceback.clear_frames(each.__traceback__)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
