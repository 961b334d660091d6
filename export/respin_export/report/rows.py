"""The rows of the reports."""

from __future__ import annotations

import math
from dataclasses import dataclass

LINKS = (
    "original → module",
    "original → ONNX FP32",
    "original → ONNX FP16",
    "module → ONNX FP32",
    "module → ONNX FP16",
)
"""Comparisons, in the order of the report."""


@dataclass(frozen=True)
class ParityRow:
    """One deviation in one link.

    Args:
        network: name of the network.
        link: one of `LINKS`.
        case: name of the inputs.
        output: output of the network.
        error: as `measure` says; NaN where there is no number.
        allowed: the greatest error that passes.
        measure: what the error is.
        failure: why there is no number; empty where there is one.
        date: date of the measurement, year-month-day.
        versions: versions of the tools.
    """

    network: str
    link: str
    case: str
    output: str
    error: float
    allowed: float
    measure: str
    failure: str = ""
    date: str = ""
    versions: str = ""

    @classmethod
    def failed(cls, network: str, link: str, case: str, failure: str) -> ParityRow:
        """A row for what could not be measured."""
        return cls(network, link, case, "", math.nan, math.nan, "", failure)

    @property
    def passes(self) -> bool:
        """Whether the link holds here."""
        # Not `not error > allowed`: that would let NaN through.
        return not self.failure and self.error <= self.allowed


STEPS = ("fp32", "fp16", "engine")
"""Files that are made of each network: two graphs, and an engine plan of the second."""

LIMIT_MIB = 8 * 1024
"""Most memory that a step may hold."""


@dataclass(frozen=True)
class Cost:
    """What one step took, and what came of it.

    Args:
        network: name of the network.
        step: one of `STEPS`.
        wall_s: duration of the step's process, in seconds; of an engine plan, from parsing to the written file.
        peak_rss_mib: most memory that the process held.
        file_mib: size of what it wrote.
        errors: of each output, "name 1.2e-07; ...", as `respin export` gates them; empty of an engine plan.
        scratch_mib: of an engine plan, what it takes of a GPU beside its weights, as TensorRT's builder says; else NaN.
        date: date of the file; then the machine and the versions.
        cpu: the processor.
        cores: of it.
        versions: versions of the tools.
    """

    network: str
    step: str
    wall_s: float
    peak_rss_mib: int
    file_mib: float
    errors: str
    scratch_mib: float
    date: str
    cpu: str
    cores: int
    versions: str
