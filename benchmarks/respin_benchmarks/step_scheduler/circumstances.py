"""Under what circumstances a run was made: noted in every row."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, fields
from importlib.metadata import version

from respin_benchmarks.commit import commit_here
from respin_export.report.circumstances import cpu_name

VERSIONED = ("nvidia-pytriton", "onnxruntime", "numpy")


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
            commit=commit_here(),
            date=time.strftime("%Y-%m-%d"),
            cpu=cpu_name(),
            cores=len(os.sched_getaffinity(0)),
            versions=", ".join([f"python {platform.python_version()}"] + [f"{n} {version(n)}" for n in VERSIONED]),
            load=round(os.getloadavg()[0], 1),
        )


COLUMNS = tuple(field.name for field in fields(Circumstances))
