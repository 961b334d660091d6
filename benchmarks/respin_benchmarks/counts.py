"""Numbers on a benchmark's command line, of which nothing and less make no sense."""

from __future__ import annotations

import argparse


def count(text: str) -> int:
    """1 or more.

    Raises:
        argparse.ArgumentTypeError: it is not.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got '{text}'; send 1 or more")
    return int(text)
