"""The declaration of one field of a request: its wire form, its range and its meaning.

A field is declared once, as a dataclass field of `respin.request.RotationRequest` that carries an `Option`. The wire
tensor, the checks, the `--help` text and the table in the docs are derived from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from respin.errors import InvalidInput
from respin.specs import Array, Axis, DType, TensorSpec

MAX_VIEWS = 64
"""Limit of camera moves in one request."""

VIEWS = Axis("views", 0, 1, MAX_VIEWS)

OptionKind = Literal["image", "text", "choice", "integer", "number", "angles", "box"]

_DTYPES: dict[OptionKind, DType] = {
    "image": DType.BYTES,
    "text": DType.BYTES,
    "choice": DType.BYTES,
    "integer": DType.INT64,
    "number": DType.FP32,
    "angles": DType.FP32,
    "box": DType.FP32,
}
_SHAPES: dict[OptionKind, tuple[int | Axis, ...]] = {"angles": (VIEWS,), "box": (4,)}


_TYPES: dict[OptionKind, tuple[Any, str]] = {
    "image": (bytes, "the bytes of a file"),
    "text": (str, "text"),
    "choice": (str, "text"),
    "integer": (Integral, "a whole number"),
    "number": (Real, "a number"),
    "angles": ((tuple, list), "a tuple of numbers"),
    "box": ((tuple, list), "a tuple of numbers"),
}
"""What a field of each kind is in Python, and how a message says it."""


@dataclass(frozen=True)
class Option:
    """One field of a request.

    Args:
        kind: type of the value, which decides its wire form.
        meaning: one line, with unit and sign.
        smallest: least number, or least count of characters or bytes.
        largest: greatest number, or greatest count of characters or bytes.
        choices: the words a choice may be.
        required: whether a request must carry it.
    """

    kind: OptionKind
    meaning: str
    smallest: float = 0
    largest: float = 0
    choices: tuple[str, ...] = ()
    required: bool = False

    @property
    def range_text(self) -> str:
        """The range in the form that errors, docs and `--help` print."""
        if self.kind == "choice":
            return " | ".join(self.choices)
        if self.kind == "image":
            return f"{self.smallest:.0f} byte to {self.largest / 2**20:.0f} MiB"
        unit = " characters" if self.kind == "text" else ""
        return f"{_plain(self.smallest)} to {_plain(self.largest)}{unit}"

    def tensor(self, name: str) -> TensorSpec:
        """Return the wire tensor of the field called `name`."""
        return TensorSpec(
            name, _DTYPES[self.kind], _SHAPES.get(self.kind, (1,)), self.meaning, optional=not self.required
        )

    def to_array(self, value: Any) -> Array:
        """Encode a checked value as its wire tensor."""
        dtype = _DTYPES[self.kind].numpy
        if dtype == np.object_:
            return np.array([value.encode() if isinstance(value, str) else value], dtype=dtype)
        encoded: Array = np.atleast_1d(np.asarray(value, dtype=dtype))
        return encoded

    def from_array(self, name: str, array: Array) -> Any:
        """Decode a wire tensor of the field called `name`; call `check_shape` before, and `check` after.

        Raises:
            InvalidInput: text that is not UTF-8.
        """
        if self.kind in ("angles", "box"):
            return tuple(map(_as_written, array.ravel()))
        value = array.ravel()[0]
        if self.kind == "image":
            return bytes(value)
        if self.kind in ("text", "choice"):
            return _decoded(name, bytes(value))
        return int(value) if self.kind == "integer" else _as_written(value)

    def check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Check the shape of a wire tensor before its elements are read: there may be millions.

        Raises:
            InvalidInput: another number of elements, or of axes, than the contract's.
        """
        wanted = _SHAPES.get(self.kind, (1,))
        if isinstance(wanted[0], int):
            if shape != wanted:
                raise InvalidInput(f"{name} has shape {list(shape)}; send shape {list(wanted)}")
        elif len(shape) != 1:
            raise InvalidInput(f"{name} has {len(shape)} axes; send one list of angles")
        else:
            _check_count(name, shape[0], wanted[0])

    def check(self, name: str, value: Any) -> None:
        """Check a value of the field called `name`.

        Raises:
            InvalidInput: the value is not allowed; the message says what is.
        """
        self._check_type(name, value)
        if self.kind in ("image", "text"):
            self._check_length(name, value)
            _check_surrogates(name, value)
        elif self.kind == "choice":
            if value not in self.choices:
                raise InvalidInput(f"{name} is {shorten(value)!r}; choose one of {', '.join(self.choices)}")
        elif self.kind in ("angles", "box"):
            _check_count(name, len(value), _SHAPES[self.kind][0])
            for number in value:
                _check_type_of(name, number, Real, "numbers")
                self._check_number(name, number)
        else:
            self._check_number(name, value)

    def _check_type(self, name: str, value: Any) -> None:
        wanted, plain = _TYPES[self.kind]
        _check_type_of(name, value, wanted, plain)

    def _check_length(self, name: str, value: Sequence[Any]) -> None:
        unit = "bytes" if self.kind == "image" else "characters"
        if not self.smallest <= len(value) <= self.largest:
            raise InvalidInput(f"{name} has {len(value)} {unit}; send {self.range_text}")

    def _check_number(self, name: str, value: float) -> None:
        if not isinstance(value, Integral) and not math.isfinite(value):
            raise InvalidInput(f"{name} is {value}; send a finite number from {self.range_text}")
        if not self.smallest <= value <= self.largest:
            raise InvalidInput(f"{name} is {_plain(value)}; send {self.range_text}")


def shorten(value: Any, length: int = 60) -> Any:
    """Shorten text for a message, which gRPC carries in a header of a few KiB; return other values unchanged."""
    is_long = isinstance(value, str) and len(value) > length
    return f"{value[:length]}..." if is_long else value


def _plain(number: float) -> str:
    """Format a number without an exponent: 9223372036854775807, not 9.22e+18."""
    if isinstance(number, Integral):
        bits = int(number).bit_length()
        return str(number) if bits <= 64 else f"a number of {bits} bits"
    return f"{number:g}"


def _check_type_of(name: str, value: Any, wanted: Any, plain: str) -> None:
    # True is a whole number to Python, and never meant as one.
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise InvalidInput(f"{name} is {shorten(repr(value))} ({type(value).__name__}); send {plain}")


def _check_surrogates(name: str, value: str | bytes) -> None:
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidInput(f"{name} holds half of a surrogate pair; send text that can be written as UTF-8")


def _as_written(number: np.float32) -> float:
    """Return the shortest decimal that rounds to the float32: 0.35 stays 0.35 over the wire."""
    return float(str(number))


def _decoded(name: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{name} is not UTF-8 (byte {raw[error.start]:#04x} at position {error.start}); encode it as UTF-8"
        ) from None


def _check_count(name: str, count: int, wanted: int | Axis) -> None:
    if isinstance(wanted, Axis):
        if count > wanted.largest:
            raise InvalidInput(f"{name} has {count} angles; send at most {wanted.largest} a request")
    elif count != wanted:
        raise InvalidInput(f"{name} has {count} numbers; send {wanted}")
