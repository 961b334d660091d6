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


def model_state(model: str) -> State:
    """Return the state of the process that runs another model of this server.

    Args:
        model: name of the model.

    Returns:
        "stopped": by a signal or a debugger, and may go on. "dead": there is no such process.
    """
    server = str(os.getppid()).encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            # The second field is the name in brackets, which may contain blanks.
            state, parent = (folder / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if parent == server and state not in _ENDED and _model_of(folder) == model:
                return "stopped" if state in _STOPPED else "running"
    return "dead"


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
