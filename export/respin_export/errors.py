"""What the export refuses beyond `respin.errors`."""

from __future__ import annotations

from respin.errors import RespinError


class ExportMismatch(RespinError):
    """The exported graph computes something else than the module that it was made from."""
