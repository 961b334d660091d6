"""Errors of the export, beside those of `respin.errors`."""

from __future__ import annotations

from respin.errors import RespinError


class ExportMismatch(RespinError):
    """An exported graph does not compute what its module computes."""


class BuildFailed(RespinError):
    """TensorRT cannot parse a graph or build its engine plan."""


class ProcessKilled(RespinError):
    """A signal ended the process of a task."""


class MissingWeights(RespinError):
    """A weights folder lacks files of the published checkpoints."""
