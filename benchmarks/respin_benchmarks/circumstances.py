"""The circumstances of a run: those in its row, and a JSON file beside the rows with what no row has room for."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from respin.errors import InvalidInput
from respin.report.circumstances import Circumstances, commit_here, core_count, cpu_name, versions_of
from respin_benchmarks.gpu import MIB, open_gpu

FILE = "circumstances.json"
SERVER_PACKAGES = ("nvidia-pytriton", "onnxruntime", "numpy")
"""Packages whose versions are in each row of a server's runs."""
PACKAGES = (
    *SERVER_PACKAGES,
    *("diffusers", "onnxruntime-gpu", "opencv-python-headless", "tensorrt", "tensorrt-rtx-cu13", "torch"),
    *("transformers", "tritonclient"),
)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that limit a library's threads."""


@dataclass(frozen=True, kw_only=True)
class RepeatRun(Circumstances):
    """The columns of a run that is repeated."""

    repeat: int  # number of the run
    load_average: float  # of the machine's last minute when the run began; 1 = one busy core


def repeat_columns(repeat: int) -> dict[str, Any]:
    """Return the columns of `RepeatRun`, with the circumstances of now."""
    here = Circumstances.now(("python", *SERVER_PACKAGES))
    return {**vars(here), "repeat": repeat, "load_average": round(os.getloadavg()[0], 1)}


@contextmanager
def record_circumstances(benchmark: str, files: Sequence[Path], *, anew: bool) -> Iterator[None]:
    """Record the circumstances of what the `with` measures, also if it fails.

    Args:
        benchmark: what is measured, in words.
        files: files of its rows, in one folder; the circumstances go there too.
        anew: whether the rows of earlier runs are replaced, and their circumstances with them.

    Raises:
        InvalidInput: there is such a file and it does not hold circumstances; nothing is measured then.
    """
    path = files[0].parent / FILE
    earlier = read_circumstances(path)
    began, before = time.strftime("%Y-%m-%dT%H:%M:%S"), _moment()
    try:
        yield
    finally:
        kept = [run for run in earlier if not (anew and run["benchmark"] == benchmark)]
        here = {
            "benchmark": benchmark,
            "results": [file.name for file in files if file.is_file()],
            "began": began,
            "ended": time.strftime("%Y-%m-%dT%H:%M:%S"),
            **_place(),
            "before": before,
            "after": _moment(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.draft")
        draft.write_text(json.dumps({"runs": [*kept, here]}, indent=1) + "\n")
        draft.replace(path)


def read_circumstances(path: Path) -> list[dict[str, Any]]:
    """Read the circumstances of every run in a file, oldest first; none if there is no file.

    Raises:
        InvalidInput: it is another kind of file.
    """
    try:
        return list(json.loads(path.read_text())["runs"]) if path.is_file() else []
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"'{path}' does not hold the circumstances of benchmarks; move it away") from error


def _place() -> dict[str, Any]:
    """Return what stays the same while a benchmark runs."""
    torch, gpu = sys.modules.get("torch"), open_gpu()
    return {
        "commit": commit_here(),
        "python": platform.python_version(),
        "versions": versions_of(PACKAGES),
        "cpu": {"name": cpu_name(), "cores": core_count(), "memory_mib": psutil.virtual_memory().total // MIB},
        "gpu": gpu.about() if gpu else None,
        "threads": {
            # Nothing is known of a library that this process has not loaded.
            **({"torch": torch.get_num_threads()} if torch else {}),
            **{name: os.environ[name] for name in THREADS if name in os.environ},
        },
    }


def _moment() -> dict[str, Any]:
    """Return what changes: clocks, and what else the machine does."""
    return {
        "load_average": round(os.getloadavg()[0], 2),
        "cpu_mhz": [round(core.current) for core in psutil.cpu_freq(percpu=True) or ()],
    }
