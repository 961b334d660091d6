"""The ratio benchmarks through time, out of every version of the results that git holds.

Times of different days are those of different machines and loads; ratios of what was measured side by side can be held
against each other. Nothing is measured: the results are read from the history of this checkout.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path

from respin.errors import InvalidInput
from respin_benchmarks.history.plot import draw_history
from respin_benchmarks.history.ratios import BENCHMARKS, Ratio, ratios_in
from respin_export.report.page import check_section, write_section
from respin_export.report.table import write_rows

SECTION = "history"
FILE, PICTURE = "history.csv", "history.png"


def history_of(results: Path) -> list[Ratio]:
    """Every ratio that was ever committed, by benchmark, oldest first.

    Args:
        results: folder of the CSV files, in a git checkout.

    Raises:
        InvalidInput: it is in none.
    """
    found: dict[tuple[str, str, str, str], Ratio] = {}
    for file in dict.fromkeys(benchmark.file for benchmark in BENCHMARKS):
        for rows in _versions_of(results / file):
            for ratio in ratios_in(file, rows):
                # A file that was added to holds the older runs as well: the same ones, or more of them.
                found[ratio.what, ratio.commit, ratio.date, ratio.machine] = ratio
    order = [benchmark.what for benchmark in BENCHMARKS]
    return sorted(found.values(), key=lambda ratio: order.index(ratio.what))


def _versions_of(path: Path) -> Iterator[list[Mapping[str, str]]]:
    """The rows of a file as of each commit that changed it, oldest first."""
    for commit in _git(path.parent, "log", "--reverse", "--format=%H", "--diff-filter=AM", "--", path.name).split():
        text = _git(path.parent, "show", f"{commit}:./{path.name}")
        yield list(csv.DictReader(StringIO(text, newline="")))


def _git(folder: Path, *arguments: str) -> str:
    try:
        return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError as error:
        raise InvalidInput("the history is read from git, which is not installed") from error
    except subprocess.CalledProcessError as error:
        raise InvalidInput(f"'{folder}' has no history: {error.stderr.strip()}; run it in a git checkout") from error


def page_of(ratios: Sequence[Ratio]) -> str:
    """The section."""
    lines = [
        "| ratio | measured | commit | machine | median (least to greatest) | repeats |",
        "|---|---|---|---|---|---|",
    ]
    for ratio in ratios:
        figures = f"{ratio.median:.2f} ({ratio.least:.2f} to {ratio.greatest:.2f})"
        lines.append(
            f"| {ratio.what} | {ratio.date} | {ratio.commit} | {ratio.machine} | {figures} | {ratio.repeats} |"
        )
    return "\n".join([*lines, "", f"![The ratios through time](images/{PICTURE})", ""])


def main(arguments: list[str] | None = None) -> None:
    """Read the history, write it as one file, and the page where one is named."""
    parser = argparse.ArgumentParser(
        prog="respin bench history", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="folder of the CSV files")
    parser.add_argument("--page", type=Path, help="its section is written again, e.g. docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if options.page:
        check_section(options.page, SECTION)
    ratios = history_of(options.results)
    write_rows(options.results / FILE, Ratio, ratios)
    print(text := page_of(ratios))
    if options.page:
        write_section(options.page, SECTION, text)
        draw_history(ratios, options.page.parent / "images" / PICTURE)


if __name__ == "__main__":
    main()
