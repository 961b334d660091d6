"""How far an output is from what it should be, and how far it may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from respin.specs import Array

NamedArrays = Mapping[str, Array]


@dataclass(frozen=True)
class Deviation:
    """Of one output.

    Args:
        output: its name.
        error: as `measure` says; NaN where either side holds one.
        allowed: the greatest error that passes.
        measure: what the error is.
    """

    output: str
    error: float
    allowed: float
    measure: str

    @property
    def passes(self) -> bool:
        """Whether it is near enough."""
        # Not `not error > allowed`: that would let NaN through.
        return self.error <= self.allowed


Measurement = Callable[[str, Sequence[Array], NamedArrays], list[Deviation]]
"""(network, its outputs, what they should be by name) -> the deviation of each; an ExportMismatch where the shapes
differ."""
