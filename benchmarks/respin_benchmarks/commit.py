"""Which code a figure was measured of."""

from __future__ import annotations

import subprocess
from pathlib import Path

WATCHED = ("ensemble", "server", "src", "export", "benchmarks", "model_repository", "models")
"""What is measured: a change there that is not committed is noted beside the commit; results are not code."""


def commit_here() -> str:
    """The commit of this checkout, with a word where something is not committed; "unknown" outside one."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", *WATCHED, ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} and changes" if changed else commit


def _git(*arguments: str) -> str:
    root = Path(__file__).parents[2]
    return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True).stdout.strip()
