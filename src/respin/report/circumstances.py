"""The circumstances of a measurement: date, code, machine and versions."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

WATCHED = ("ensemble", "server", "src", "export", "benchmarks", "model_repository", "models")
"""Folders of what is measured: a change there that is not committed is noted beside the commit."""


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """The columns that rows of all benchmarks share.

    Args:
        commit: commit of the code that was measured.
        date: date of the measurement, year-month-day.
        machine: its processor, in words.
        versions: versions of the packages that matter, "name 1.2.3, ...".
    """

    commit: str
    date: str
    machine: str
    versions: str

    @classmethod
    def now(cls, packages: Iterable[str], machine: str = "") -> Circumstances:
        """Return the circumstances of this moment.

        Args:
            packages: whose versions matter; those that are not installed are left out.
            machine: its processor; empty = the CPU.
        """
        return cls(
            commit=commit_here(), date=today(), machine=machine or cpu_in_words(), versions=versions_text(packages)
        )


def today() -> str:
    """Return the date, year-month-day."""
    return time.strftime("%Y-%m-%d")


def core_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def cpu_name() -> str:
    """Return the processor's own name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cpu_in_words() -> str:
    """Return cores and name of the processor."""
    return f"{core_count()} cores of {cpu_name()}"


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed, by name; "python" is the interpreter."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = platform.python_version() if package == "python" else version(package)
    return found


def versions_text(packages: Iterable[str]) -> str:
    """Return the versions of those packages that are installed as "name 1.2.3, ..."."""
    return ", ".join(f"{package} {number}" for package, number in versions_of(packages).items())


def commit_here() -> str:
    """Return the commit of this checkout, with "and changes" if code is not committed; "unknown" outside one."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", *WATCHED, ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} and changes" if changed else commit


def _git(*arguments: str) -> str:
    root = Path(__file__).parents[3]
    return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True).stdout.strip()
