"""`respin bench` for a Python without the client: `python -m respin_benchmarks`."""

from __future__ import annotations

import sys

from respin.errors import RespinError
from respin_benchmarks.commands import app

if __name__ == "__main__":
    try:
        app(prog_name="python -m respin_benchmarks")
    except RespinError as error:
        sys.exit(f"respin_benchmarks: {error}")
