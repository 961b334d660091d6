"""Lists of photos: CSV and JSON Lines, a row for each job."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from respin.errors import InvalidInput
from respin.options import OptionKind
from respin.request import OPTIONS


@dataclass(frozen=True)
class Row:
    """One row of a list.

    Args:
        where: file and line, for messages.
        fields: fields of a request by name; `image` is the path as written.
    """

    where: str
    fields: Mapping[str, Any]


def rows_from_csv(path: Path) -> Iterator[Row]:
    """Read a comma-separated list, whose first line names the columns.

    An empty cell leaves the field to the command's flags. Several numbers in one cell are separated by spaces, `;` or,
    in quotes, by commas.

    Raises:
        InvalidInput: the file cannot be read, or a column, cell or row is not what a request has.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        columns = [column.strip() for column in next(reader, [])]
        _check_names(columns, f"{path} line 1")
        for cells in reader:
            where = f"{path} line {reader.line_num}"
            if len(cells) > len(columns):
                raise InvalidInput(f"{where} has {len(cells)} cells, and the first line names {len(columns)} columns")
            given = {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if cell.strip()}
            if given:
                yield _row(where, given, _FROM_TEXT)


def rows_from_jsonl(path: Path) -> Iterator[Row]:
    """Read a list with a JSON object on each line; null leaves the field to the command's flags.

    Raises:
        InvalidInput: as `rows_from_csv`.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            where = f"{path} line {number}"
            if not line.strip():
                continue
            try:
                given = json.loads(line)
            except ValueError as error:
                raise InvalidInput(f"{where} is not JSON ({error}); write one object on each line") from None
            if not isinstance(given, dict):
                raise InvalidInput(f'{where} is no JSON object; write e.g. {{"image": "a.jpg", "class_name": "chair"}}')
            given = {name: value for name, value in given.items() if value is not None}
            _check_names(list(given), where)
            yield _row(where, given, _FROM_JSON)


LISTS: dict[str, Callable[[Path], Iterator[Row]]] = {".csv": rows_from_csv, ".jsonl": rows_from_jsonl}
"""Readers of lists by the suffix of the file."""


def read_list(path: Path) -> list[Row]:
    """Read a list of either form.

    Raises:
        InvalidInput: as the reader; also for a list without rows.
    """
    try:
        rows = list(LISTS[path.suffix.lower()](path))
    except OSError as error:
        raise InvalidInput(f"cannot read the list '{path}' ({error.strerror}); give the path of a file") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the list '{path}' is not UTF-8 ({error.reason}); save it as UTF-8") from None
    except csv.Error as error:
        raise InvalidInput(f"the list '{path}' is not CSV ({error}); write comma-separated values") from None
    if not rows:
        raise InvalidInput(f"the list '{path}' has no rows; write one for each photo")
    return rows


def _check_names(names: list[str], where: str) -> None:
    known = f"the fields are {', '.join(OPTIONS)}"
    if unknown := [name for name in names if name not in OPTIONS]:
        raise InvalidInput(f"{where}: unknown field {unknown[0]!r}; {known}")
    if "image" not in names:
        raise InvalidInput(f"{where}: there is no 'image'; every row names its photo ({known})")
    if len(set(names)) < len(names):
        raise InvalidInput(f"{where}: a field is named twice; name each once")


def _row(where: str, given: Mapping[str, Any], parsers: Mapping[OptionKind, Callable[[Any], Any]]) -> Row:
    if "image" not in given:
        raise InvalidInput(f"{where}: image is empty; every row names its photo")
    fields = {}
    for name, value in given.items():
        kind = OPTIONS[name].kind
        try:
            fields[name] = parsers[kind](value)
        except (TypeError, ValueError):
            raise InvalidInput(f"{where}: {name} is {value!r}; write {_WANTED[kind]}") from None
    return Row(where, fields)


_WANTED: dict[OptionKind, str] = {
    "image": "the path of a photo",
    "text": "text",
    "choice": "a word",
    "integer": "an integer",
    "number": "a number",
    "angles": "one or several numbers",
    "box": "four numbers: x0 y0 x1 y1",
}


def _numbers_from_text(text: str) -> tuple[float, ...]:
    return tuple(map(float, re.split(r"[\s,;]+", text.strip("[] "))))


def _text_from_json(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _integer_from_json(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _number_from_json(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError
    return float(value)


def _numbers_from_json(value: Any) -> tuple[float, ...]:
    return tuple(map(_number_from_json, value if isinstance(value, list) else [value]))


_FROM_TEXT: dict[OptionKind, Callable[[Any], Any]] = {
    "image": str,
    "text": str,
    "choice": str,
    "integer": int,
    "number": float,
    "angles": _numbers_from_text,
    "box": _numbers_from_text,
}
_FROM_JSON: dict[OptionKind, Callable[[Any], Any]] = {
    "image": _text_from_json,
    "text": _text_from_json,
    "choice": _text_from_json,
    "integer": _integer_from_json,
    "number": _number_from_json,
    "angles": _numbers_from_json,
    "box": _numbers_from_json,
}
