"""The processes of the Python models, as Linux shows them: Triton cannot tell a stopped one from a dead one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Literal

State = Literal["running", "stopped", "dead"]

_MODEL_FILE = 1
"""Index of a stub's argument <repository>/<model>/<version>/model.py."""

_STOPPED, _ENDED = b"Tt", b"ZX"
"""States in /proc/<pid>/stat (proc(5))."""


def model_state(model: str, server_pid: int | None = None) -> State:
    """Return the state of the process that runs another model of this server.

    Args:
        model: name of the model.
        server_pid: process id of the server; None = the parent of this process.

    Returns:
        "stopped": by a signal or a debugger, and may go on. "dead": there is no such process.
    """
    server = str(os.getppid() if server_pid is None else server_pid).encode()
    found = _FOUND.get(model)
    if found is not None and (state := _state_of(found, model, server)):
        return state
    for folder in Path("/proc").glob("[0-9]*"):
        if state := _state_of(folder, model, server):
            _FOUND[model] = folder
            return state
    return "dead"


_FOUND: dict[str, Path] = {}
"""Where a model was found the last time: a search takes milliseconds, on a machine of many processes more."""


def _state_of(folder: Path, model: str, server: bytes) -> State | None:
    """Return the state of a process, if it is running and is that model's."""
    with contextlib.suppress(OSError):  # it has ended meanwhile
        # The second field is the name in brackets, which may contain blanks.
        state, parent = (folder / "stat").read_bytes().rpartition(b")")[2].split()[:2]
        if parent == server and state not in _ENDED and _model_of(folder) == model:
            return "stopped" if state in _STOPPED else "running"
    return None


def _model_of(folder: Path) -> str | None:
    arguments = (folder / "cmdline").read_bytes().split(b"\0")
    parts = Path(os.fsdecode(arguments[_MODEL_FILE])).parts if len(arguments) > _MODEL_FILE else ()
    return parts[-3] if parts[-1:] == ("model.py",) else None


def close_inherited_sockets() -> None:
    """Close the sockets that Triton lets a reloaded model's process inherit; call it in `initialize`.

    They would keep the server's ports and its clients' connections open after its death. A stub has none of its own.
    """
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of this very listing
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:"):
                os.close(int(descriptor))
