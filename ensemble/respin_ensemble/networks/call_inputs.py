"""Inputs of a network's calls on a device, packed so that a denoising step sends what it changes in one copy.

Contexts, masks and the latents of a picture are constant over the steps of a sample. The step batcher stacks them once
and passes the same read-only arrays at every step, which is how they are recognised here.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from respin.contracts.networks import STEP_INPUTS
from respin.specs import Array

ALIGNMENT = 256
"""Bytes to whose multiples the inputs in a block are aligned, as CUDA aligns what it allocates."""


class Block(Protocol):
    """Bytes in the machine's memory, and as many on a device."""

    @property
    def host(self) -> NDArray[np.uint8]:
        """The bytes to send, (n,)."""
        ...

    def send(self) -> None:
        """Begin to copy the bytes to the device."""
        ...


B = TypeVar("B", bound=Block)


@dataclass(frozen=True)
class Slot:
    """Where an input lies in a block.

    Args:
        offset: its first byte.
        shape: its shape, with the batch axis.
        dtype: its type.
    """

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def nbytes(self) -> int:
        """Size in memory, bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class PackedInputs(Generic[B]):
    """Inputs of one shape, one after another in one block.

    Args:
        arrays: inputs of these shapes and types, by name.
        new_block: makes a block of so many bytes.
    """

    def __init__(self, arrays: Mapping[str, Array], new_block: Callable[[int], B]) -> None:
        self.slots: dict[str, Slot] = {}
        size = 0
        for name, array in arrays.items():
            self.slots[name] = Slot(size, array.shape, array.dtype)
            size += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        self.block = new_block(max(size, ALIGNMENT))
        self._views = {
            name: self.block.host[slot.offset : slot.offset + slot.nbytes].view(slot.dtype).reshape(slot.shape)
            for name, slot in self.slots.items()
        }

    def send(self, arrays: Mapping[str, Array]) -> None:
        """Send these arrays to the device, in one copy."""
        for name, view in self._views.items():
            np.copyto(view, arrays[name])
        self.block.send()


class CallInputs(Generic[B]):
    """The inputs of one shape: what changes at every step in one block, everything else in another.

    The second block is sent only if one of its arrays is not the very one that was sent last, or could have been
    written since. The arrays are held weakly.

    Args:
        arrays: inputs of these shapes and types, by name.
        new_block: makes a block of so many bytes.
    """

    def __init__(self, arrays: Mapping[str, Array], new_block: Callable[[int], B]) -> None:
        self.parts = [
            PackedInputs({name: array for name, array in arrays.items() if (name in STEP_INPUTS) == changes}, new_block)
            for changes in (True, False)
            if any((name in STEP_INPUTS) == changes for name in arrays)
        ]
        self._sent: dict[str, weakref.ref[Array]] = {}

    def send(self, arrays: Mapping[str, Array]) -> None:
        """Send what is not on the device yet."""
        for part in self.parts:
            if not all(self._is_there(name, arrays[name]) for name in part.slots):
                # Until it is sent, nothing is known of what the device holds.
                for name in part.slots:
                    self._sent.pop(name, None)
                part.send(arrays)
                self._sent |= {name: weakref.ref(arrays[name]) for name in part.slots if _is_constant(arrays[name])}

    def forget(self) -> None:
        """Send everything at the next call: after a failure, it is not known what the device holds."""
        self._sent.clear()

    def _is_there(self, name: str, array: Array) -> bool:
        sent = self._sent.get(name)
        return sent is not None and sent() is array


def _is_constant(array: Array) -> bool:
    """Return whether nothing can write to an array: it is read-only, and the memory is its own."""
    return not array.flags.writeable and bool(array.flags.owndata)
