"""Under which circumstances something was measured."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass(frozen=True)
class Circumstances:
    """What a figure has to be read with.

    Args:
        date: of the measurement, year-month-day.
        cpu: the processor's own name.
        cores: that this process may use.
        versions: of the packages that matter, "name 1.2.3, ...".
    """

    date: str
    cpu: str
    cores: int
    versions: str

    @classmethod
    def here(cls, packages: Iterable[str]) -> Circumstances:
        """Those of this machine, now.

        Args:
            packages: whose versions matter; those that are not installed are left out.
        """
        return cls(
            time.strftime("%Y-%m-%d"), cpu_name(), len(os.sched_getaffinity(0)), _in_words(versions_of(packages))
        )


def cpu_name() -> str:
    """The processor's own name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Of those that are installed, by name."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _in_words(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{package} {number}" for package, number in versions.items())
