"""The parts of a contract: axes, tensors, models.

config.pbtxt, ONNX export, TensorRT profiles, the client and the tests derive what they need of a tensor from its
contract. `respin.contracts` holds the contracts themselves.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from respin.errors import ContractMismatch

Array = NDArray[Any]


class DType(enum.Enum):
    """An element type, by Triton's name for it."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    INT32 = "INT32"
    INT64 = "INT64"
    FP32 = "FP32"
    BYTES = "BYTES"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype that holds it; BYTES is an object array of `bytes`."""
        return np.dtype(_NUMPY[self])

    @property
    def pbtxt(self) -> str:
        """The name in config.pbtxt: TYPE_STRING for BYTES, TYPE_<name> otherwise."""
        return "TYPE_STRING" if self is DType.BYTES else f"TYPE_{self.value}"


_NUMPY: dict[DType, type] = {
    DType.BOOL: np.bool_,
    DType.UINT8: np.uint8,
    DType.INT32: np.int32,
    DType.INT64: np.int64,
    DType.FP32: np.float32,
    DType.BYTES: np.object_,
}


@dataclass(frozen=True)
class Axis:
    """A dimension that has no single length.

    Args:
        name: name of the axis in ONNX files.
        smallest: least length that the contract allows.
        usual: the length to optimise for.
        largest: greatest length that the contract allows.
        multiple_of: every length is a multiple of this.
        set_size: name of the size in a set's manifest that fixes the length; None = free within the range.
        ratio: the length is the set's size divided by this.
        set_limits: names of sizes in a set's manifest, of which no job with that set goes beyond the greatest; none:
            any job may go as far as `largest`.
    """

    name: str
    smallest: int
    usual: int
    largest: int
    multiple_of: int = 1
    set_size: str | None = None
    ratio: int = 1
    set_limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the range is possible."""
        if not 0 <= self.smallest <= self.usual <= self.largest:
            raise ContractMismatch(
                f"axis {self.name}: got smallest {self.smallest}, usual {self.usual}, largest {self.largest}; "
                "they must be in rising order"
            )

    def divided_by(self, ratio: int, name: str) -> Axis:
        """Return the axis of a feature map `ratio` times coarser than this one."""
        return Axis(
            name,
            self.smallest // ratio,
            self.usual // ratio,
            self.largest // ratio,
            multiple_of=max(1, self.multiple_of // ratio),
            set_size=self.set_size,
            ratio=self.ratio * ratio,
            set_limits=self.set_limits,
        )

    @property
    def range_text(self) -> str:
        """The range in the form that messages print: "height 64..768 by 64"."""
        step = f" by {self.multiple_of}" if self.multiple_of > 1 else ""
        return f"{self.name} {self.smallest}..{self.largest}{step}"

    def allows(self, length: int) -> bool:
        """Return whether the axis may have this length."""
        return self.smallest <= length <= self.largest and length % self.multiple_of == 0


BATCH_NAME = "batch"
"""Name of the leading axis of every network's tensors."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output, its batch axis left out.

    Args:
        name: name of the tensor in Triton and ONNX.
        dtype: element type.
        shape: each a fixed length or an `Axis`.
        meaning: units, range and frame, in one line.
        optional: whether a request may leave it out.
    """

    name: str
    dtype: DType
    shape: tuple[int | Axis, ...]
    meaning: str
    optional: bool = False

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape in config.pbtxt: -1 for an axis."""
        return tuple(-1 if isinstance(length, Axis) else length for length in self.shape)

    def check(self, array: Array, *, batched: bool, owner: str) -> None:
        """Compare an array with this contract.

        Args:
            array: an array, with a leading batch axis if `batched`.
            batched: whether the leading axis counts samples.
            owner: name of the model, for the message.

        Raises:
            ContractMismatch: another dtype or shape.
        """
        if array.dtype != self.dtype.numpy:
            raise ContractMismatch(
                f"{owner}: '{self.name}' has dtype {array.dtype}, wanted {self.dtype.numpy}; convert it before the call"
            )
        shape = array.shape[1:] if batched else array.shape
        if len(shape) != len(self.shape) or not all(map(_fits, self.shape, shape)):
            wanted = ", ".join(length.range_text if isinstance(length, Axis) else str(length) for length in self.shape)
            raise ContractMismatch(f"{owner}: '{self.name}' has shape {tuple(shape)} a sample, wanted ({wanted})")


def _fits(wanted: int | Axis, length: int) -> bool:
    return wanted.allows(length) if isinstance(wanted, Axis) else wanted == length


@dataclass(frozen=True)
class ModelSpec:
    """The contract of one Triton model.

    Args:
        name: Triton's name for it.
        summary: description of the model, in one line.
        inputs: inputs in the order of the graph.
        outputs: outputs in the order of the graph.
        batch: the batch axis of a network's graph; None for a job, whose requests are whole.
        decoupled: whether it answers one request with many responses.
        served_batch: most samples of one call, where that is fewer than the graph takes: a TensorRT engine holds
            memory for all that it may be sent, and what fills a GPU with one sample is no faster with more.
    """

    name: str
    summary: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch: Axis | None = None
    decoupled: bool = False
    served_batch: int | None = None

    @property
    def max_batch_size(self) -> int:
        """max_batch_size of config.pbtxt: 0 if requests are not batched."""
        return self.served_batch or (self.batch.largest if self.batch else 0)

    def check_inputs(self, arrays: Mapping[str, Array]) -> None:
        """Compare the arrays of a call with the contract.

        Raises:
            ContractMismatch: a tensor is missing, unknown, or of another dtype or shape.
        """
        known = {spec.name: spec for spec in self.inputs}
        required = {spec.name for spec in self.inputs if not spec.optional}
        if unknown := sorted(set(arrays) - set(known)):
            raise ContractMismatch(f"{self.name}: unknown input {unknown}; it takes {sorted(known)}")
        if missing := sorted(required - set(arrays)):
            raise ContractMismatch(f"{self.name}: input {missing} is missing; it takes {sorted(known)}")
        for name, array in arrays.items():
            known[name].check(array, batched=self.batch is not None, owner=self.name)
