"""The server's regions in /dev/shm: named after their launcher, and removed when it has ended.

Triton leaves a region behind for every stub that was killed, and all of them if it is killed itself; each is 16 MiB or
more of memory that nothing else would free.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")

_REGION = re.compile(r"respin_(?P<pid>\d+)_(?P<namespace>\d+)_[0-9a-f]+_")


def region_prefix() -> str:
    """Return a prefix for the regions of one server launched by this process.

    Returns:
        respin_<pid>_<pid namespace>_<random>_. Containers may share /dev/shm but have their own process ids; the
        namespace distinguishes their launchers.
    """
    return f"respin_{os.getpid()}_{_pid_namespace()}_{secrets.token_hex(4)}_"


def sweep(prefix: str, folder: Path = SHARED_MEMORY) -> None:
    """Remove the regions of one server that has ended."""
    _remove(folder.glob(f"{prefix}*"))


def sweep_leftovers(folder: Path = SHARED_MEMORY) -> None:
    """Remove the regions whose launcher died without removing them."""
    _remove(path for path in folder.glob("respin_*") if _is_left_over(path.name))


def _is_left_over(name: str) -> bool:
    region = _REGION.match(name)
    # A pid of another namespace cannot be checked here: its launcher may be running.
    return region is not None and int(region["namespace"]) == _pid_namespace() and not _is_running(int(region["pid"]))


def _remove(regions: Iterable[Path]) -> None:
    for region in regions:
        # Another launcher may remove it at the same time, and another user's regions cannot be removed.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            region.unlink()


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it is running as another user
    return True
