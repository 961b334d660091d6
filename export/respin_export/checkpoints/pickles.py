"""Read tensors from untrusted files: code in them does not run, and tensors are mapped, not read."""

from __future__ import annotations

import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from respin.errors import InvalidInput
from respin_export.checkpoints.unpacked_size import (
    check_legacy_pickle,
    check_safetensors,
    check_tensors,
    check_zip,
)

ZIP_MAGIC = b"PK\x03\x04"
"""First bytes of a file of torch.save since 1.6."""

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of a file of torch.save before 1.6, such as EDSR's of 2018: a pickled number."""

DICT_ENDINGS = ("defaultdict", "AttributeDict")
"""Classes that a pickle fills item by item, which the reader allows for dictionaries only."""

WRAPPINGS = ("state_dict", "model", "module", "params")
"""Keys under which a file may have its tensors: those of Lightning, GroundingDINO, DeepSpeed and BasicSR."""

PREFIXES = ("module.", "params.")
"""Prefixes that all names of a file may have: that of PyTorch's data-parallel modules, and BasicSR's key."""

_BROKEN = (RuntimeError, EOFError, UnpicklingError, OSError, struct.error, BadZipFile, MemoryError, OverflowError)
_BROKEN_PICKLE = (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, memory-mapped where the format allows.

    The dictionaries that training scripts put around them (`WRAPPINGS`) and the prefixes that they put before all names
    (`PREFIXES`) are removed; everything but tensors is dropped.

    Args:
        path: path of a .safetensors file, or of a file of torch.save with any ending.

    Raises:
        InvalidInput: it is missing, damaged, of another kind, asks to run something, or takes more memory than its
            file has bytes.
    """
    if not path.is_file():
        raise InvalidInput(f"{path} is not a file; name a checkpoint")
    held = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    tensors = {
        name: value.detach() for name, value in held.items() if isinstance(name, str) and isinstance(value, Tensor)
    }
    check_tensors(path, tensors)
    return _without_prefixes(tensors)


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            return _without_prefixes({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    return tensors


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        check_safetensors(path)
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, *_BROKEN) as error:
        raise _damaged(path, error) from None


def _read_pickle(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        start = file.read(len(LEGACY_MAGIC))
    if not start.startswith((ZIP_MAGIC, LEGACY_MAGIC)):
        raise InvalidInput(
            f"{path.name} is not a PyTorch checkpoint: it begins with {start!r}; download it again"
            " (a web page or a git-lfs pointer saved in its place looks like this)"
        )
    is_zip = start.startswith(ZIP_MAGIC)
    try:
        (check_zip if is_zip else check_legacy_pickle)(path)
        with torch.serialization.safe_globals(_stand_ins(path) if is_zip else []):
            held = torch.load(path, map_location="cpu", mmap=is_zip, weights_only=True)
    except (*_BROKEN, *_BROKEN_PICKLE) as error:
        raise _forbidden(path, error) or _damaged(path, error) from None
    for wrapping in WRAPPINGS:
        if isinstance(held, Mapping) and isinstance(held.get(wrapping), Mapping):
            held = held[wrapping]
    if not isinstance(held, Mapping):
        raise InvalidInput(f"{path.name} holds no dictionary of tensors; expected a checkpoint, not a pickled model")
    return held


class _Inert:
    """A stand-in for classes in a pickle that are not tensors: takes any argument, does nothing."""

    def __new__(cls, *_: object) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class _InertDict:
    """A stand-in for dictionary classes in a pickle: becomes an ordinary dictionary."""

    def __new__(cls, *_: object) -> OrderedDict[str, Any]:  # type: ignore[misc]
        return OrderedDict()


def _stand_ins(path: Path) -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return an inert class for every name in a pickle that torch does not allow by default."""
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    return [(_InertDict if name.endswith(DICT_ENDINGS) else _Inert, name) for name in names]


def _damaged(path: Path, error: Exception) -> InvalidInput:
    # torch puts advice about its options before the reason.
    said = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    reason = said.splitlines()[0] if said else type(error).__name__
    return InvalidInput(
        f"{path.name} cannot be read ({reason}); it has {path.stat().st_size} bytes and may be cut off: "
        "download it again"
    )


def _forbidden(path: Path, error: Exception) -> InvalidInput | None:
    """Return the error for a forbidden call in a pickle, or None if the cause is another."""
    name = re.search(r"GLOBAL (\S+) (?:whose module|was not an allowed)", str(error))
    if name is None and not re.search(r"unrecognized function|Can only (create|build)", str(error)):
        return None
    asked = name[1] if name else "a call of its own making"
    return InvalidInput(
        f"{path.name} asks for {asked}, which no weights need; nothing of it was run; get the file from its authors"
    )
