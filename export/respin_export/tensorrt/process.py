"""Build an engine in a process of its own: what TensorRT leaks goes with it, and a crash takes one engine only."""

from __future__ import annotations

import importlib
import multiprocessing
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from respin.errors import InternalError, RespinError
from respin_export.errors import BuildFailed
from respin_export.tensorrt.builder import EngineTask, Report, build_engine


@dataclass(frozen=True)
class BuildCost:
    """What building an engine took.

    Args:
        build_s: from parsing to the written file, in seconds; the library's own loading is left out.
        peak_rss_bytes: most memory that the process held.
        scratch_bytes: GPU memory beside the weights, as `build_engine` says.
    """

    build_s: float
    peak_rss_bytes: int
    scratch_bytes: int | None


def build_in_own_process(task: EngineTask, report: Report) -> BuildCost:
    """Build an engine in a fresh process and wait for it.

    Args:
        task: what to build.
        report: told of progress, in this process.

    Raises:
        BuildFailed: TensorRT refuses the graph, or the process was killed.
        InternalError: the process ended by a bug of ours; its traceback went to stderr.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_build_and_tell, args=(task, sender), daemon=True)
    process.start()
    sender.close()
    try:
        with receiver:
            answer = _answer(receiver, report)
        process.join()
    finally:
        # Not only for Ctrl-C: whatever ends the waiting must end the build.
        process.terminate()
        process.join()
    if isinstance(answer, RespinError):
        raise answer
    if answer is None:
        raise _death(task, process.exitcode)
    return answer


def _answer(receiver: Connection[Any, Any], report: Report) -> BuildCost | RespinError | None:
    """Hand on progress until the answer comes; None where the process ends without one."""
    try:
        while isinstance(message := receiver.recv(), tuple):
            report(*message)
    except EOFError:
        return None
    assert isinstance(message, BuildCost | RespinError)
    return message


def _death(task: EngineTask, exit_code: int | None) -> RespinError:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return BuildFailed(
            f"{task.network}: the building process was ended by {name}; where that is SIGKILL, memory ran out: "
            "free some and run the same command again"
        )
    return InternalError(f"{task.network}: the building process ended with exit code {exit_code} and no answer")


def _build_and_tell(task: EngineTask, sender: Connection[Any, Any]) -> None:
    # Ctrl-C reaches the whole group; the parent ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trt = importlib.import_module(task.flavour)
    begin = time.perf_counter()
    try:
        scratch_bytes = build_engine(trt, task, lambda *progress: sender.send(progress))
    except RespinError as error:
        sender.send(error)
    else:
        sender.send(BuildCost(round(time.perf_counter() - begin, 2), _peak_rss_bytes(), scratch_bytes))


def _peak_rss_bytes() -> int:
    # Not getrusage: its peak includes what the parent held before this process was its own.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
