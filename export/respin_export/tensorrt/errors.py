"""What building an engine refuses beyond `respin.errors`."""

from __future__ import annotations

from respin.errors import RespinError


class BuildFailed(RespinError):
    """TensorRT cannot parse a graph, cannot build an engine of it, or died on the way."""
