"""Measure, write every run, and bring the page and its pictures up to date."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from rich.progress import track

from respin_benchmarks.circumstances import Circumstances, noted
from respin_benchmarks.step_scheduler import stepping, views
from respin_benchmarks.step_scheduler.plots import draw_latency, draw_ratio
from respin_benchmarks.step_scheduler.results import Rows, rows_of, with_section
from respin_benchmarks.step_scheduler.section import IMAGES, section_of

STEPPING, VIEWS = "step_scheduler.csv", "many_views.csv"


def main(arguments: list[str] | None = None) -> None:
    """Measure whatever is not left out, then write the page from both files."""
    options = _parser().parse_args(arguments)
    if "stepping" in options.measure:
        with noted("step scheduler: stepping", [options.results / STEPPING], anew=True), stepping.Bench() as bench:
            cells = [*stepping.comparison_cells(), *stepping.payload_cells()]
            runs = stepping.runs_of(bench, cells, repeats=options.repeats, steps=options.steps)
            _keep(options.results / STEPPING, stepping.Run, runs, len(cells) * options.repeats)
    if "views" in options.measure:
        total = len(views.cells()) * options.repeats
        many = views.runs_of(repeats=options.repeats, steps=options.steps)
        with noted("step scheduler: views", [options.results / VIEWS], anew=True):
            _keep(options.results / VIEWS, views.Run, many, total)
    steppings, of_views = rows_of(options.results / STEPPING), rows_of(options.results / VIEWS)
    options.page.write_text(with_section(options.page.read_text(), section_of(steppings, of_views)))
    images = options.page.parent / "images"
    draw_latency(steppings, images / IMAGES["latency"])
    draw_ratio(steppings, images / IMAGES["ratio"])


def _keep(path: Path, kind: type[object], runs: Iterable[object], total: int) -> None:
    rows, circumstances = Rows(path, kind), Circumstances.now()
    for run in track(runs, description=f"runs of {path.stem}", total=total):
        rows.write(run, circumstances)
        circumstances = Circumstances.now()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m respin_benchmarks.step_scheduler",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=5, help="of every cell, interleaved (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=75, help="asked of the sampler (default: %(default)s)")
    parser.add_argument(
        "--measure",
        nargs="*",
        choices=("stepping", "views"),
        default=["stepping", "views"],
        help="what to measure; the page is written from the files either way (default: both)",
    )
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="folder of the CSV files")
    parser.add_argument("--page", type=Path, default=Path("docs/engine.md"), help="its section is replaced")
    return parser


if __name__ == "__main__":
    main()
