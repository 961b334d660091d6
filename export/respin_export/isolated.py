"""Run tasks each in a process of its own: what one takes is given back, and what kills one kills no other."""

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

from respin.errors import RespinError
from respin_export.errors import ExportMismatch

Task = Callable[[Callable[[str], None]], Any]
"""Takes what it calls at the beginning of each of its stages. It and its result are pickled."""


@dataclass(frozen=True)
class Stage:
    """A task has come so far."""

    name: str
    stage: str


@dataclass(frozen=True)
class Done:
    """A task is done.

    Args:
        name: of the task.
        result: what it returned.
        wall_s: from the start of its process.
        peak_rss_mib: the most memory that its process held, files mapped into it among them.
    """

    name: str
    result: Any
    wall_s: float
    peak_rss_mib: int


@dataclass(frozen=True)
class Failed:
    """A task failed; the sentence says why."""

    name: str
    error: RespinError


Event = Stage | Done | Failed
Run = Callable[[Mapping[str, Task], int], Generator[Event]]


def run_isolated(tasks: Mapping[str, Task], jobs: int) -> Generator[Event]:
    """Run tasks, so many at a time, and say what happens to them as it happens.

    Closing the iterator early ends the processes under way.

    Args:
        tasks: by name, in the order of their start.
        jobs: how many at a time; they share the machine's cores.
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
                event = _received(receiver, *running[receiver])
                if not isinstance(event, Stage):
                    running.pop(receiver)[1].join()
                    receiver.close()
                yield event
    finally:
        for receiver, (_, process) in running.items():
            process.terminate()
            process.join()
            receiver.close()


def _received(receiver: Connection, name: str, process: SpawnProcess) -> Event:
    try:
        event: Event = receiver.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        reason = (
            f"was ended by {signal.Signals(-code).name}; if it was SIGKILL, memory ran out: use fewer --jobs"
            if code < 0
            else "ended with the error above"
        )
        return Failed(name, ExportMismatch(f"{name}: its process {reason}"))
    return event


def _work(name: str, task: Task, sender: Connection, jobs: int) -> None:
    # Ctrl-C reaches every process of the terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _share_cores(jobs)
    started = time.monotonic()
    try:
        result = task(lambda stage: sender.send(Stage(name, stage)))
        event: Event = Done(name, result, round(time.monotonic() - started, 1), peak_rss_mib())
    except RespinError as error:
        event = Failed(name, error)
    sender.send(event)


def _end_with_parent() -> None:
    """End this process when its parent ends: a parent that is killed terminates nothing itself."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _share_cores(jobs: int) -> None:
    import torch  # noqa: PLC0415 (the parent never needs it)

    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))


def peak_rss_mib() -> int:
    """The most memory that this process ever held; Linux alone says (proc(5), VmHWM)."""
    # Not getrusage: its figure outlives exec, and a child would begin with its parent's.
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:"))
