"""The command `respin export`.

The `respin` command imports this module for its `--help`, also without the export extra: torch is imported by the
processes that export.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from respin.contracts import NETWORKS
from respin.errors import InvalidInput
from respin.model_set import ModelSet
from respin_export.checks import check_installed, check_networks
from respin_export.cuda_device import has_cuda
from respin_export.export_set import ExportPlan, check_exported, export_set
from respin_export.progress import ExportBar, bars
from respin_export.published import PublishedWeights


def export(
    networks: Annotated[
        list[str] | None, typer.Argument(metavar="[NETWORK]...", help=f"Some of {', '.join(NETWORKS)}. Default: all.")
    ] = None,
    *,
    weights: Annotated[Path, typer.Option(help="Folder of the published checkpoints (respin weights).")] = Path(
        "weights"
    ),
    set_name: Annotated[
        str | None, typer.Option("--set", metavar="NAME", help="Name of the set. Default: full, or full-fp16.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the set to create or to complete. Default: models/<name of the set>.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16"], typer.Option(help="Number format of the graphs' arithmetic.")
    ] = "fp32",
    jobs: Annotated[int, typer.Option(min=1, help="Number of networks at a time; each takes up to 8 GB.")] = 1,
    device: Annotated[
        Literal["cpu", "cuda"], typer.Option(help="Where the original modules run; the files run on the CPU.")
    ] = "cpu",
    raw_weights: Annotated[
        bool, typer.Option("--raw-weights", help="Export Zero123's last weights instead of their moving average.")
    ] = False,
    slim: Annotated[bool, typer.Option("--slim", help="Simplify graphs of up to 600 MB with onnxslim.")] = False,
) -> None:
    """Export the published checkpoints to ONNX, each compared with the module that it was made from.

    Each network is exported in a process of its own. A network that is up to date is kept, so the same command
    continues after an interruption. The manifest records the source of every file and its deviation from its module.

    For example:

        respin export

        respin export edsr vae_decoder --weights weights --output models/full

        respin export --precision fp16 --jobs 2
    """
    chosen = networks or list(NETWORKS)
    check_networks(chosen)
    if slim:
        check_installed("--slim", "onnxslim")
    if device == "cuda" and not has_cuda():
        raise InvalidInput("--device cuda: torch sees no CUDA device here; use --device cpu")
    name = set_name or ("full" if precision == "fp32" else "full-fp16")
    source = PublishedWeights(weights, raw_weights)
    options = {"precision": precision, "slim": slim, "device": device}
    folder = output or Path("models") / name
    plan = ExportPlan(folder, name, source.sizes, chosen, source, options, jobs, source.ungated)
    with bars() as progress:
        failed = export_set(plan, ExportBar(progress, chosen).follow)
    check_exported(failed, len(chosen))
    typer.echo(_made(folder))


def _made(folder: Path) -> str:
    """Return a sentence about a set, with the command that serves it if it is complete."""
    made = ModelSet.load(folder)
    lacking = [network for network in NETWORKS if network not in made.networks]
    end = (
        f"to be served it needs {', '.join(lacking)}"
        if lacking
        else f"respin serve --models {shlex.quote(str(folder))}"
    )
    return f"{folder}: set {made.name}, {len(made.networks)} networks, {made.size_bytes / 2**20:.0f} MiB; {end}"
