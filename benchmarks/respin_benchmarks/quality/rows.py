"""What was measured on one scene: a row of the CSV file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from respin.report.rows import read_records, write_records

BIN_EDGES = (15, 30, 60, 90)
"""Limits of the bins of |azimuth|, degrees."""


@dataclass(frozen=True)
class SceneRow:
    """The figures of one scene.

    Args:
        seed: seed of the scene.
        kind: kind of the object to turn.
        objects: number of objects in the scene.
        azimuth: degrees.
        set_name: name of the set.
        command: command line that measured it.
        commit: commit of the checkout.
        date: date of the measurement.
        failure: why the job returned no picture; empty if it did.
        figures: by the names of `measures.MEASURES` and their baselines; one that could not be measured is left out.
    """

    seed: int
    kind: str
    objects: int
    azimuth: float
    set_name: str = ""
    command: str = ""
    commit: str = ""
    date: str = ""
    failure: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    def figure(self, name: str) -> float:
        """Return a figure; NaN if it was not measured."""
        return self.figures.get(name, math.nan)


def mean_of(rows: Sequence[SceneRow], name: str) -> float:
    """Return the mean of a figure over the scenes that have it; NaN if none has."""
    numbers = [number for row in rows if not math.isnan(number := row.figure(name))]
    return sum(numbers) / len(numbers) if numbers else math.nan


def azimuth_bin(azimuth: float) -> str:
    """Return the bin of a camera move in words, e.g. "30 to 60"; the last one includes its upper edge.

    Args:
        azimuth: degrees, of either sign.
    """
    inner = sum(abs(azimuth) >= edge for edge in BIN_EDGES[1:-1])
    return f"{BIN_EDGES[inner]} to {BIN_EDGES[inner + 1]}"


_FACTS = {"seed": int, "kind": str, "objects": int, "azimuth": float} | dict.fromkeys(
    (each.name for each in fields(SceneRow)[4:-1]), str
)


def write_scene_rows(path: Path, rows: Sequence[SceneRow]) -> None:
    """Write a CSV file with a column for each fact and each figure; its folder is made."""
    names = dict.fromkeys(name for row in rows for name in row.figures)
    records = (
        {name: getattr(row, name) for name in _FACTS} | {name: f"{number:.6g}" for name, number in row.figures.items()}
        for row in rows
    )
    write_records(path, [*_FACTS, *names], records)


def read_scene_rows(path: Path) -> list[SceneRow]:
    """Read what `write_scene_rows` wrote; no rows if there is no file."""
    return [
        SceneRow(
            **{name: kind(record.pop(name)) for name, kind in _FACTS.items()},
            figures={name: float(text) for name, text in record.items() if text},
        )
        for record in read_records(path)
    ]
