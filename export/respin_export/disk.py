"""Check that files fit on a disk before they are written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from rich.filesize import decimal

from respin.errors import InvalidInput

FreeBytes = Callable[[Path], int]
"""Function from a folder to the free bytes of its file system."""


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the file system of a folder, which need not exist yet."""
    return shutil.disk_usage(existing_parent(folder)).free


def existing_parent(folder: Path) -> Path:
    """Return the folder itself or the nearest of its parents that exists."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def check_room(what: str, needed: int, folder: Path, *, free: FreeBytes, remedy: str = "make room") -> None:
    """Check that a folder's file system has room.

    Args:
        what: beginning of the message, e.g. "the weights need".
        needed: bytes to be written.
        folder: where they are written.
        free: returns the free bytes.
        remedy: end of the message.

    Raises:
        InvalidInput: it has not.
    """
    if needed > (room := free(folder)):
        raise InvalidInput(f"{what} {decimal(needed)} and '{folder}' has {decimal(room)} free; {remedy}")
