"""What a server keeps outside its process: regions in /dev/shm and temporary folders, named after their launcher.

Triton leaves a region behind for every stub that was killed, and all of them if it is killed itself; each is 16 MiB or
more of memory that nothing else would free. A launcher that is killed leaves its temporary folders.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from respin.errors import InvalidInput
from respin.shared_memory import needed_mib

SHARED_MEMORY = Path("/dev/shm")

_OWNED = re.compile(r"respin_(?P<pid>\d+)_(?P<namespace>\d+)_[0-9a-f]+_")


def owned_prefix() -> str:
    """Return a prefix for the names of what one server of this process leaves behind.

    Returns:
        respin_<pid>_<pid namespace>_<random>_. Containers may share /dev/shm but have their own process ids; the
        namespace distinguishes their launchers.
    """
    return f"respin_{os.getpid()}_{_pid_namespace()}_{secrets.token_hex(4)}_"


def temporary_folder() -> Path:
    """Create a folder that only this user can read, and that is swept once this process has died."""
    return Path(tempfile.mkdtemp(prefix=owned_prefix()))


def held_mib(prefix: str, folder: Path = SHARED_MEMORY) -> float:
    """Return the memory that the regions of a server take, MiB; pages that were never written take none."""
    held = 0
    for region in folder.glob(f"{prefix}*"):
        with contextlib.suppress(FileNotFoundError):
            held += region.stat().st_blocks * 512
    return held / 2**20


def sweep(prefix: str, folder: Path = SHARED_MEMORY) -> None:
    """Remove the regions of one server that has ended."""
    _remove(folder.glob(f"{prefix}*"))


def check_free(models: Collection[str], folder: Path = SHARED_MEMORY) -> None:
    """Check that there is room for the regions of a server.

    Raises:
        InvalidInput: there is not.
    """
    needed = needed_mib(models)
    free = shutil.disk_usage(folder).free // 2**20
    if free < needed:
        raise InvalidInput(
            f"{folder} has {free} MiB free, and this server needs {needed} MiB of shared memory for its "
            f"{len(models)} models; remove what fills it, or in a container start it with --shm-size 1g"
        )


def restrict(prefix: str, folder: Path = SHARED_MEMORY) -> None:
    """Make the regions of a server readable by this user only; Boost, which creates them, overrides the umask."""
    for region in folder.glob(f"{prefix}*"):
        with contextlib.suppress(FileNotFoundError):
            region.chmod(0o600)


def sweep_leftovers(*folders: Path) -> None:
    """Remove the regions and temporary folders whose launcher died without removing them.

    Args:
        folders: where to look; none = /dev/shm and the folder of temporary files.
    """
    for folder in folders or (SHARED_MEMORY, Path(tempfile.gettempdir())):
        _remove(path for path in folder.glob("respin_*") if _is_left_over(path.name))


def _is_left_over(name: str) -> bool:
    owned = _OWNED.match(name)
    # A pid of another namespace cannot be checked here: its launcher may be running.
    return owned is not None and int(owned["namespace"]) == _pid_namespace() and not _is_running(int(owned["pid"]))


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
            continue
        # Another launcher may remove it at the same time, and another user's files cannot be removed.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            path.unlink()


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
