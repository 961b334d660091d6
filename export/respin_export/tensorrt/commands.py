"""The command `respin engines`.

The `respin` command imports this module for its `--help`, also without TensorRT, which is imported when the command
runs.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from respin.model_set import ModelSet
from respin_export.progress import bars, engine_bar
from respin_export.tensorrt.builder import EngineOptions
from respin_export.tensorrt.engine_set import EngineReport, build_engines, engines_folder
from respin_export.tensorrt.flavours import FLAVOURS, Library, device_capability, target_capabilities
from respin_export.tensorrt.identity import EngineRecord

_FLAVOURS_HELP = "; ".join(f"{name}: {summary}" for name, summary in FLAVOURS.items())


def engines(
    models: Annotated[
        Path, typer.Argument(metavar="SET", help="Folder of a set of ONNX files, e.g. models/full-fp16.")
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the set of engine plans to create or to complete. Default: <SET>-<flavour>."),
    ] = None,
    network: Annotated[list[str] | None, typer.Option(help="Build this one; may be repeated. Default: all.")] = None,
    flavour: Annotated[
        str | None, typer.Option(help=f"{_FLAVOURS_HELP}. Default: the first that is installed.")
    ] = None,
    capability: Annotated[
        list[str] | None,
        typer.Option(
            help="Compute capability to build for, e.g. 8.6; may be repeated; 'current': this machine's GPU. "
            "tensorrt_rtx only. Default: 8.0 and later."
        ),
    ] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(
            help="File of measured kernel times, read and updated: it makes a second build faster. tensorrt only."
        ),
    ] = None,
    workspace_mib: Annotated[
        int | None, typer.Option(min=1, help="Limit of scratch GPU memory for a layer. Default: none.")
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Replace engine plans that are stale or damaged.")] = False,
) -> None:
    """Build TensorRT engine plans of a set's networks, in the precision of its ONNX files.

    Each plan is built in a process of its own. A plan that is up to date is kept, so the same command continues after
    an interruption. A plan for another graph, other shapes, another TensorRT or another GPU is an error unless
    --rebuild is given.

    For example:

        respin engines models/full-fp16

        respin assemble served --models models/full-fp16-tensorrt --profile tensorrt

        respin engines models/full-fp16 --flavour tensorrt_rtx --capability 8.6 --capability 8.9 --output models/ada
    """
    library = Library.installed(flavour)
    folder = output or engines_folder(models, library)
    options = EngineOptions(
        library=library,
        capabilities=target_capabilities(library, capability or [], device_capability()),
        timing_cache=timing_cache,
        workspace_bytes=None if workspace_mib is None else workspace_mib * 2**20,
        rebuild=rebuild,
    )
    with bars() as progress:
        report = build_engines(models, folder, options, networks=network or [], progress=partial(engine_bar, progress))
    _print(report, Console())
    report.check()
    typer.echo(f"{folder}: set {ModelSet.load(folder).name}, engine plans of {library.flavour} {library.version}")


def _print(report: EngineReport, console: Console) -> None:
    table = Table("network", "", "build, s", "peak RSS, MiB", "engine, MiB", "GPU scratch, MiB")
    for state, records in (("kept", report.kept), ("built", report.built)):
        for name, record in records.items():
            table.add_row(name, state, *_costs(record))
    for name in report.failed:
        table.add_row(name, "failed")
    console.print(table)
    engines = [*report.kept.values(), *report.built.values()]
    scratch = [record.scratch_bytes for record in engines if record.scratch_bytes is not None]
    if engines and len(scratch) == len(engines):
        mib = (sum(record.size_bytes for record in engines) + sum(scratch)) / 2**20
        console.print(
            f"One instance of each engine plan takes {mib:.0f} MiB of GPU memory in all: weights and scratch memory."
        )


def _costs(record: EngineRecord) -> tuple[str, str, str, str]:
    return (
        f"{record.build_s:.1f}",
        f"{record.peak_rss_bytes / 2**20:.0f}",
        f"{record.size_bytes / 2**20:.1f}",
        "unknown" if record.scratch_bytes is None else f"{record.scratch_bytes / 2**20:.0f}",
    )
