"""The way that every benchmark goes: check the page, measure under noted circumstances, print and write the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.progress import track

from respin.errors import InvalidInput
from respin.report.markdown import check_section, write_section
from respin.report.rows import write_rows
from respin_benchmarks.options import ReportOptions

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class PageReport:
    """A section of a page that is written from results."""

    section: str  # name of its marks
    text: Callable[[Path], str]  # makes the section from the folder of results

    def write(self, results: Path, page: Path) -> None:
        """Write the section of a page.

        Raises:
            InvalidInput: the page has no such section.
        """
        write_section(page, self.section, self.text(results))


def run_benchmark(report: PageReport, measure: Callable[[], object], options: ReportOptions) -> None:
    """Measure, print the report, and write it if there is a page.

    Raises:
        InvalidInput: the page has no section for it; nothing is measured then.
    """
    if options.page:
        check_section(options.page, report.section)
    measure()
    typer.echo(report.text(options.results))
    if options.page:
        report.write(options.results, options.page)


def collect(path: Path, kind: type[Measured], rows: Iterable[Measured], total: int) -> list[Measured]:
    """Write rows to a CSV file as they come, and return them.

    Args:
        path: path of the file.
        kind: dataclass of the rows.
        rows: measured one after another.
        total: how many are expected.
    """
    kept: list[Measured] = []
    for row in track(rows, path.stem.replace("_", " "), total, console=Console(stderr=True)):
        kept.append(row)
        write_rows(path, kind, kept)
    return kept


def check_choices(option: str, given: Iterable[str], choices: Sequence[Any]) -> None:
    """Check the values of an option.

    Raises:
        InvalidInput: one is none of the choices.
    """
    for value in given:
        if value not in choices:
            raise InvalidInput(f"--{option} is '{value}'; choose of {', '.join(map(str, choices))}")


class Budget:
    """A time after which nothing new begins.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self._began_s = seconds, time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began_s

    def is_over(self) -> bool:
        """Return whether nothing new may begin."""
        return self.elapsed_s > self.seconds
