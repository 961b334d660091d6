"""Run each task in a process of its own, which gives its memory back and may crash alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from respin.errors import InternalError, RespinError
from respin_export.errors import ProcessKilled

IsolatedTask = Callable[[Callable[[Any], None]], Any]
"""A function of a callback for its progress, e.g. the name of each stage. Progress and result are pickled."""


@dataclass(frozen=True)
class TaskProgress:
    """The event that a task has reported progress.

    Args:
        name: name of the task.
        stage: argument of the task's call of its callback.
    """

    name: str
    stage: Any


@dataclass(frozen=True)
class TaskDone:
    """The event that a task has ended.

    Args:
        name: name of the task.
        result: return value of the task.
        wall_s: seconds since the start of its process.
        peak_rss_mib: peak memory of its process, mapped files included.
    """

    name: str
    result: Any
    wall_s: float
    peak_rss_mib: int


@dataclass(frozen=True)
class TaskFailed:
    """The event that a task failed; the error says why."""

    name: str
    error: RespinError


TaskEvent = TaskProgress | TaskDone | TaskFailed
TaskRunner = Callable[[Mapping[str, IsolatedTask], int], Generator[TaskEvent]]


def run_isolated(tasks: Mapping[str, IsolatedTask], jobs: int) -> Generator[TaskEvent]:
    """Run tasks and yield their events as they arrive.

    Closing the iterator early ends the processes that still run.

    Args:
        tasks: tasks by name, in the order of their start.
        jobs: number of tasks at a time; they share the machine's cores.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(tasks)
    running: dict[Connection, tuple[str, SpawnProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(name, tasks[name], sender, jobs), daemon=True)
                process.start()
                sender.close()
                running[receiver] = name, process
            ready = wait(list(running))
            for receiver in [each for each in running if each in ready]:
                event = _receive(receiver, *running[receiver])
                if not isinstance(event, TaskProgress):
                    running.pop(receiver)[1].join()
                    receiver.close()
                yield event
    finally:
        for receiver, (_, process) in running.items():
            process.terminate()
            process.join()
            receiver.close()


def _receive(receiver: Connection, name: str, process: SpawnProcess) -> TaskEvent:
    try:
        event: TaskEvent = receiver.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        if code >= 0:
            return TaskFailed(name, InternalError(f"{name}: its process ended with exit code {code} and no result"))
        hint = "; memory probably ran out: free some, or run fewer jobs at a time" if code == -signal.SIGKILL else ""
        return TaskFailed(name, ProcessKilled(f"{name}: its process was ended by {signal.Signals(-code).name}{hint}"))
    return event


def _work(name: str, task: IsolatedTask, sender: Connection, jobs: int) -> None:
    # Ctrl-C reaches every process of the terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if jobs > 1:
        _share_cores(jobs)
    started = time.monotonic()
    try:
        result = task(lambda stage: sender.send(TaskProgress(name, stage)))
        event: TaskEvent = TaskDone(name, result, round(time.monotonic() - started, 1), peak_rss_mib())
    except RespinError as error:
        event = TaskFailed(name, error)
    sender.send(event)


def _end_with_parent() -> None:
    """End this process when its parent ends: a parent that is killed terminates nothing itself."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _share_cores(jobs: int) -> None:
    import torch  # noqa: PLC0415 (neither the parent nor a single TensorRT build needs it)

    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))


def peak_rss_mib() -> int:
    """Return the peak memory of this process, MiB; only Linux reports it (proc(5), VmHWM)."""
    # Not getrusage: its figure outlives exec, and a child would begin with its parent's.
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:"))
