"""Under what circumstances a run was made: noted in every row."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path

VERSIONED = ("nvidia-pytriton", "onnxruntime", "numpy")
WATCHED = ("ensemble", "src", "benchmarks", "model_repository")
"""What is measured: a change there that is not committed is noted beside the commit."""


@dataclass(frozen=True)
class Circumstances:
    """Where and when, and of what. `load` is the machine's load average of the last minute as the run begins."""

    commit: str
    date: str
    cpu: str
    cores: int
    versions: str
    load: float

    @classmethod
    def now(cls) -> Circumstances:
        """As they are."""
        return cls(
            commit=_commit(),
            date=time.strftime("%Y-%m-%d"),
            cpu=_cpu(),
            cores=len(os.sched_getaffinity(0)),
            versions=", ".join([f"python {platform.python_version()}"] + [f"{n} {version(n)}" for n in VERSIONED]),
            load=round(os.getloadavg()[0], 1),
        )


COLUMNS = tuple(field.name for field in fields(Circumstances))


def _commit() -> str:
    commit = _git("rev-parse", "--short", "HEAD")
    return f"{commit} and changes" if _git("status", "--porcelain", "--", *WATCHED) else commit


def _git(*arguments: str) -> str:
    root = Path(__file__).parents[3]
    return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
