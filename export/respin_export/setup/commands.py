"""The command `respin setup`.

The `respin` command imports this module for its `--help`, also without the export extra: modules of the extra are
imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from respin.errors import InvalidInput
from respin.runtimes import Device, Precision
from respin_export.checks import check_installed
from respin_export.cuda_device import has_cuda
from respin_export.disk import existing_parent, free_bytes
from respin_export.progress import bars
from respin_export.setup.plan import DEFAULT_RUNTIMES, ServedRuntime, SetupPlan
from respin_export.setup.steps import SetupTools, SetupView, check_disks, run_setup, steps_of
from respin_export.tensorrt.builder import EngineOptions
from respin_export.tensorrt.flavours import FLAVOURS, Library, device_capability, target_capabilities
from respin_export.weights.catalogue import CATALOGUE

if TYPE_CHECKING:
    from respin_export.weights.fetch import DownloadSource

_NEEDED = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime", "httpx2", "huggingface_hub")
"""Modules of the export extra that the steps import."""


def setup(
    set_name: Annotated[Literal["full"], typer.Argument(metavar="full", help="The set: the published weights.")],
    *,
    device: Annotated[
        Device | None, typer.Option(help="Where the networks will run. Default: cuda if there is a GPU here.")
    ] = None,
    runtime: Annotated[
        ServedRuntime | None,
        typer.Option(
            help="What will run them: torch loads the checkpoints, onnxruntime needs an export, tensorrt plans too. "
            "Default: torch for cuda, onnxruntime for cpu."
        ),
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Number format of the ONNX files. Default: fp16 for cuda, fp32 for cpu.")
    ] = None,
    flavour: Annotated[
        str | None,
        typer.Option(help=f"The TensorRT of the engines: {', '.join(FLAVOURS)}. Default: the first that is installed."),
    ] = None,
    weights: Annotated[Path, typer.Option(help="The weights folder, 22 GB.")] = Path("weights"),
    models: Annotated[Path, typer.Option(help="Folder of the sets, 6 to 17 GB.")] = Path("models"),
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="Fetch from a weights folder served over HTTP instead.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Take the checkpoints from a folder; no network is used."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Number of networks to export at a time; each up to 8 GB.")] = 1,
) -> None:
    """Fetch the published weights, export them and build engine plans where the runtime needs it, and check all of it.

    The licences of the checkpoints are printed first. What is complete and of the same inputs is kept, so the same
    command goes on after an interruption. Disks are checked for room before anything is fetched. The last line, on
    standard output, is the command that serves the result. In a folder of `respin weights synthesize` nothing is
    fetched: a rehearsal.

    For example:

        respin setup full

        respin setup full --device cuda --runtime tensorrt --jobs 2

        respin weights synthesize --output trial; respin setup full --weights trial --models trial-models --device cpu
    """
    check_installed("`respin setup`", *_NEEDED)
    # These need the export extra.
    from respin_export.weights.fetch import DownloadSource  # noqa: PLC0415

    origin = DownloadSource.from_environment(mirror, source)
    capability = device_capability()
    device = device or ("cuda" if capability else "cpu")
    plan = SetupPlan(weights, models, device, runtime or DEFAULT_RUNTIMES[device], precision)
    engines = None
    if plan.runtime == "tensorrt":
        library = Library.installed(flavour)
        engines = EngineOptions(library, target_capabilities(library, [], capability), rebuild=True)
        plan = replace(plan, flavour=library.flavour)
    elif flavour is not None:
        raise InvalidInput(f"--flavour {flavour} is for --runtime tensorrt only; leave it out")
    check_disks(plan, free_bytes, lambda folder: existing_parent(folder).stat().st_dev)
    tools = SetupTools(
        fetch=partial(fetch_published, origin),
        engines=engines,
        export_device="cuda" if capability and has_cuda() else "cpu",
        jobs=jobs,
    )
    with bars() as progress:
        run_setup(plan, tools, SetupView(steps_of(plan), progress))
    typer.echo(plan.serve_command)


def fetch_published(origin: DownloadSource, plan: SetupPlan, view: SetupView) -> Iterator[str]:
    """Fetch the checkpoints of a plan that are not there.

    Args:
        origin: the source of the files.
        plan: the plan; `SetupPlan.checkpoints` are fetched.
        view: shows a bar for each file.

    Yields:
        the licence of each checkpoint, then a sentence about each file.
    """
    from respin_export.weights.fetch import Fetcher  # noqa: PLC0415 (needs the export extra)

    for checkpoint in CATALOGUE.values():
        yield f"{checkpoint.name}: licence {checkpoint.licence}; {checkpoint.project}"
    yield from Fetcher(plan.weights, origin, view.progress).fetch(plan.checkpoints)
