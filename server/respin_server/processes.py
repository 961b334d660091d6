"""The server's processes: launch them, watch over them from outside, end them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from respin.errors import InternalError
from respin_server import die_with_parent, guard

_ISOLATED = (sys.executable, "-I", "-S")
"""Interpreter for scripts that need the standard library only."""

_END_S = 10.0
_POLL_S = 0.02


def launch(
    command: Sequence[str], environment: Mapping[str, str], log_file: Path
) -> tuple[int, subprocess.Popen[bytes]]:
    """Start a server that is killed when this thread ends, as the leader of a process group of its own.

    Args:
        command: path of the program, and its arguments.
        environment: its environment variables.
        log_file: its output is appended to it; if it is new, only this user can read it.

    Returns:
        Length of the log before, bytes; the process.
    """
    with open(log_file, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
        return log.tell(), subprocess.Popen(
            [*_ISOLATED, die_with_parent.__file__, str(os.getpid()), *command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal must reach the launcher only: a second signal would cut the shutdown short.
            start_new_session=True,
        )


def ending(code: int | None) -> str:
    """Return in words how a process with this return code ended; None = it is running."""
    return f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"


def private_mib(pid: int) -> float:
    """Return the memory of a process that is neither shared nor read from files, MiB; 0 if it has ended."""
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.NoSuchProcess:
        return 0.0
    return float(memory.rss - memory.shared) / 2**20


def end_group(leader: subprocess.Popen[bytes]) -> None:
    """Kill a server and its stubs, which share its process group and may outlive it, and wait until all have ended.

    Raises:
        InternalError: a process does not end.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)
    leader.wait()
    deadline_s = time.monotonic() + _END_S
    while _members(leader.pid):
        if time.monotonic() > deadline_s:
            raise InternalError(f"processes {_members(leader.pid)} of the server cannot be killed; restart the machine")
        time.sleep(_POLL_S)
    # As process 1 of a container the launcher inherits the stubs of a dead server.
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-leader.pid, os.WNOHANG)[0]:
            pass


def _members(group: int) -> list[int]:
    """Return the running processes of a group."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members


class Guard:
    """A process that cleans up if this one is killed.

    Args:
        prefix: prefix of the server's shared memory regions.
        folder: temporary folder to remove.
    """

    def __init__(self, prefix: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [*_ISOLATED, guard.__file__, prefix, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, group: int) -> None:
        """Set the process group to kill; 0 = none."""
        stdin = self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # the guard was killed: the next start cleans up instead
            if stdin is not None:
                stdin.write(f"{group}\n".encode())
                stdin.flush()

    def close(self) -> None:
        """End the guard, once the server has ended; it removes regions and folder."""
        self.watch(0)
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
