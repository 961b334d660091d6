"""`respin serve` for a Python into which Respin is not installed: `python -m respin_server`."""

from __future__ import annotations

import sys

import typer

from respin.errors import RespinError
from respin_server.commands import serve

if __name__ == "__main__":
    app = typer.Typer(add_completion=False)
    app.command()(serve)
    try:
        app(prog_name="python -m respin_server")
    except RespinError as error:
        sys.exit(f"respin_server: {error}")
