"""Tables of results: one CSV file, a frozen dataclass a row."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

Row = TypeVar("Row")


def write_rows(path: Path, kind: type[Any], rows: Iterable[Any]) -> None:
    """Write a table, whole or not at all.

    Args:
        path: of the CSV file; its folder is made.
        kind: the dataclass of the rows: its fields are the columns.
        rows: of that class.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    with draft.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(kind)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    draft.replace(path)


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Read a table; numbers become numbers again.

    Args:
        path: of the CSV file; where there is none, there are no rows.
        kind: the dataclass of the rows, of fields that are str, int or float.
    """
    if not path.is_file():
        return []
    readers = {field.name: _READERS[str(field.type)] for field in fields(kind)}  # type: ignore[arg-type]
    with path.open(newline="") as file:
        return [kind(**{name: readers[name](text) for name, text in row.items()}) for row in csv.DictReader(file)]


_READERS = {"str": str, "int": int, "float": float}
