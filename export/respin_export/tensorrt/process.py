"""Build an engine in a process of its own: TensorRT's leaks end with it, and a crash affects one engine only."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from respin.errors import InternalError
from respin_export.isolated import TaskDone, TaskFailed, run_isolated
from respin_export.tensorrt.builder import EngineTask, ReportPhase, build_engine


@dataclass(frozen=True)
class BuildCost:
    """Time and memory that building an engine took.

    Args:
        build_s: seconds from parsing to the written file, without loading the library.
        peak_rss_bytes: peak memory of the process.
        scratch_bytes: GPU memory beside the weights, as `build_engine` returns it.
    """

    build_s: float
    peak_rss_bytes: int
    scratch_bytes: int | None


def build_in_own_process(task: EngineTask, report: ReportPhase) -> BuildCost:
    """Build an engine in a fresh process and wait for it.

    Args:
        task: inputs and options of the build.
        report: called with the progress, in this process.

    Raises:
        BuildFailed: TensorRT refuses the graph.
        ProcessKilled: a signal ended the process.
        InternalError: the process ended by a bug of ours; its traceback went to stderr.
    """
    with closing(run_isolated({task.network: partial(_build, task)}, jobs=1)) as events:
        for event in events:
            if isinstance(event, TaskFailed):
                raise event.error
            if isinstance(event, TaskDone):
                build_s, scratch_bytes = event.result
                return BuildCost(build_s, event.peak_rss_mib * 2**20, scratch_bytes)
            report(*event.stage)
    raise InternalError(f"{task.network}: its process reported no result")


def _build(task: EngineTask, on_progress: Callable[[tuple[str, int, int]], None]) -> tuple[float, int | None]:
    trt = importlib.import_module(task.flavour)
    begin = time.perf_counter()
    scratch_bytes = build_engine(trt, task, lambda *progress: on_progress(progress))
    return round(time.perf_counter() - begin, 2), scratch_bytes
