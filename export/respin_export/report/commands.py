"""`respin parity`.

The `respin` command imports this module for its `--help`, also where the export extra is not installed: what measures
is imported when the command runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from respin.contracts import NETWORKS
from respin.report.circumstances import today, versions_text
from respin.report.markdown import check_section, write_section
from respin.report.rows import read_rows, write_rows
from respin_export.checks import check_installed, check_networks
from respin_export.errors import ExportMismatch
from respin_export.isolated import TaskDone, TaskEvent, TaskFailed, TaskProgress, TaskRunner, run_isolated
from respin_export.progress import bars
from respin_export.report.page import parity_text
from respin_export.report.plot import plot_parity
from respin_export.report.rows import ParityRow

PACKAGES = ("torch", "transformers", "diffusers", "onnx", "onnxscript", "onnxruntime")
SECTION = "parity"


def parity(
    networks: Annotated[
        list[str] | None, typer.Argument(metavar="[NETWORK]...", help=f"Some of {', '.join(NETWORKS)}. Default: all.")
    ] = None,
    *,
    reference: Annotated[
        Path, typer.Option(help="Folder of what the original implementations computed, at reduced size.")
    ] = Path("tests/reference"),
    results: Annotated[Path, typer.Option(help="CSV file of every error.")] = Path("benchmarks/results/parity.csv"),
    page: Annotated[Path, typer.Option(help="Its section 'parity' is written again.")] = Path("docs/parity.md"),
    plot: Annotated[Path, typer.Option(help="PNG to draw.")] = Path("docs/images/parity.png"),
    jobs: Annotated[int, typer.Option(min=1, help="Networks at a time, each in a process of its own.")] = 1,
) -> None:
    """Measure the export against the original implementations, link by link, and write the report.

    Checkpoints in their original layouts, at a reduced size: the original's outputs, our module, ONNX in FP32, ONNX in
    FP16, on the original's inputs and on others. If an error is beyond its gate, the report says so, and this command
    exits with status 1. Networks that are not named keep their rows.

    For example:

        respin parity

        respin parity edsr sam_decoder --jobs 2
    """
    chosen = networks or list(NETWORKS)
    check_networks(chosen)
    check_installed("the plot", "matplotlib", extra="report")
    check_section(page, SECTION)
    with TemporaryDirectory() as weights, bars() as progress:
        task = progress.add_task("", total=len(chosen), unit="networks")

        def follow(event: TaskEvent) -> None:
            if isinstance(event, TaskProgress):
                progress.update(task, description=f"{event.name}: {event.stage}")
            elif event.name in chosen:
                progress.advance(task)

        measured = measure(chosen, reference, Path(weights), jobs=jobs, follow=follow)
    # What was measured before stays, but for these networks; the contracts' order throughout.
    others = [row for row in read_rows(results, ParityRow) if row.network not in chosen]
    rows = sorted([*others, *measured], key=lambda row: list(NETWORKS).index(row.network))
    write_rows(results, ParityRow, rows)
    write_section(page, SECTION, parity_text(rows))
    plot_parity(rows, plot)
    check_gates(measured)


def measure(
    networks: Sequence[str],
    reference: Path,
    weights: Path,
    *,
    jobs: int = 1,
    follow: Callable[[TaskEvent], None] = lambda _: None,
    run: TaskRunner = run_isolated,
) -> list[ParityRow]:
    """Measure the chain of some networks.

    Args:
        networks: by name.
        reference: folder of the original's outputs.
        weights: an empty folder for the reduced checkpoints.
        jobs: networks at a time.
        follow: called with what happens to each network.
        run: what runs the measurements.

    Returns:
        a row each error; of a network whose measurement itself failed, one that says why.

    Raises:
        InvalidInput: `reference` is no reference folder.
    """
    # torch
    from respin_export.originals.reference import Reference  # noqa: PLC0415
    from respin_export.report.chain import measure_chain, write_reduced_weights  # noqa: PLC0415

    Reference(reference).check()
    date, versions = today(), versions_text(PACKAGES)
    rows: list[ParityRow] = []
    for event in run({"weights": partial(write_reduced_weights, weights, reference)}, 1):
        follow(event)
        if isinstance(event, TaskFailed):
            raise event.error
    chains = {network: partial(measure_chain, network, weights, reference) for network in networks}
    for event in run(chains, jobs):
        follow(event)
        if isinstance(event, TaskDone):
            rows += event.result
        elif isinstance(event, TaskFailed):
            rows.append(ParityRow.failed(event.name, "", "", str(event.error)))
    return [replace(row, date=date, versions=versions) for row in rows]


def check_gates(rows: Sequence[ParityRow]) -> None:
    """Refuse rows beyond their gates.

    Raises:
        ExportMismatch: there is one.
    """
    if broken := [row for row in rows if not row.passes]:
        first = broken[0]
        said = first.failure or f"'{first.output}' is off by {first.error:.2e}, allowed is {first.allowed:.1e}"
        more = f"; {len(broken) - 1} more in the report" if len(broken) > 1 else ""
        raise ExportMismatch(
            f"{len(broken)} of {len(rows)} comparisons break their gates: {first.network}, {first.link}, "
            f"{first.case}: {said}{more}; the report has been written all the same"
        )
