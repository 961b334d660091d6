"""Results as CSV files: one frozen dataclass per kind of row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from respin.report.circumstances import Circumstances

RowType = TypeVar("RowType")


def columns_of(kind: type[Any]) -> list[str]:
    """Return the columns of a dataclass of rows: its fields, those of `Circumstances` last."""
    last = {field.name for field in fields(Circumstances)}
    return sorted((field.name for field in fields(kind)), key=lambda name: name in last)


def write_rows(path: Path, kind: type[Any], rows: Iterable[Any]) -> None:
    """Write a CSV file, whole or not at all.

    Args:
        path: path of the file; its folder is made.
        kind: the dataclass of the rows.
        rows: rows of that class.
    """
    write_records(path, columns_of(kind), (asdict(row) for row in rows))


def read_rows(path: Path, kind: type[RowType]) -> list[RowType]:
    """Read a CSV file.

    Args:
        path: path of the file; if there is none, there are no rows.
        kind: the dataclass of the rows, with fields of type str, int or float.
    """
    readers = get_type_hints(kind)
    return [kind(**{name: readers[name](text) for name, text in record.items()}) for record in read_records(path)]


def write_records(path: Path, columns: Sequence[str], records: Iterable[Mapping[str, Any]]) -> None:
    """Write dicts as a CSV file, whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    with draft.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    draft.replace(path)


def read_records(path: Path) -> list[dict[str, str]]:
    """Read a CSV file as dicts by column; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
