"""The deviation of an output from its reference, and the largest one that passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from respin.specs import Array
from respin_export.errors import ExportMismatch

NamedArrays = Mapping[str, Array]


@dataclass(frozen=True)
class Deviation:
    """The deviation of one output from its reference.

    Args:
        output: name of the output.
        error: value of the measure; NaN where either side holds one.
        allowed: largest error that passes.
        measure: description of the error and its unit.
    """

    output: str
    error: float
    allowed: float
    measure: str

    @property
    def passes(self) -> bool:
        """Whether the error is small enough."""
        # Not `not error > allowed`: that would let NaN through.
        return self.error <= self.allowed


MeasureDeviations = Callable[[str, Sequence[Array], NamedArrays], list[Deviation]]
"""Function of a network's name, its outputs and their references by name; it returns the deviation of each
output, and raises ExportMismatch where shapes differ."""


def check_deviations(
    network: str, deviations: Sequence[Deviation], remedy: str, *, gated: bool = True
) -> dict[str, float]:
    """Return the error of each output, if all pass.

    Args:
        network: name of the network, for the message.
        deviations: deviations of its outputs.
        remedy: last clause of the message.
        gated: False = return the errors in any case.

    Raises:
        ExportMismatch: an error is larger than allowed, or NaN.
    """
    for each in deviations:
        if gated and not each.passes:
            raise ExportMismatch(
                f"{network}: '{each.output}' differs from the float32 module by {each.error:.3g} ({each.measure}), "
                f"allowed is {each.allowed:.3g}; {remedy}"
            )
    return {each.output: each.error for each in deviations}
