"""Read JSON files of unknown origin: bounded in size, without duplicate keys or numbers that are not finite."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

MAX_BYTES = 4 * 2**20
"""Size limit of a file, bytes; the manifest of a set has some ten thousand."""


def read_json_object(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: path of the file.
        max_bytes: a longer file is refused before it is read.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no file, too long, not UTF-8, not JSON, nested too deeply, or no object; it has a key twice,
            or a number that is not finite. The message holds nothing of the file's content but a key.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise ValueError("it is not a file")
    if size > max_bytes:
        raise ValueError(f"it has {size} bytes, more than {max_bytes}")
    with path.open("rb") as file:
        # The size of some files, such as those of /proc, is only known once they are read.
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"it has more than {max_bytes} bytes")
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the key {twice[:60]!r} twice")
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it has the number {name}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"it has the number {text[:60]}")
    return number
