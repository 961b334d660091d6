"""The options that `respin serve` and `respin assemble` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from respin.limits import DEFAULT_LIMITS, LIMITS
from respin.profiles import PROFILES
from respin.runtimes import RUNTIMES
from respin_server.choice import AUTO

PROFILES_HELP = "; ".join(f"{profile.name}: {profile.summary}" for profile in PROFILES.values())

Models = Annotated[
    Path | None, typer.Option(help="Folder of the set of weights: manifest.json and <network>/<file>. Default: mini.")
]
ProfileName = Annotated[
    str | None,
    typer.Option(help=f"How the networks are served. {PROFILES_HELP}. Default: cpu; with --device or --runtime local."),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=NUMBER",
        help="A limit of the engine; may be given several times. "
        + "; ".join(f"{name}: {meaning}, default {getattr(DEFAULT_LIMITS, name)}" for name, meaning in LIMITS.items())
        + ".",
    ),
]
DeviceName = Annotated[
    str | None,
    typer.Option(
        metavar="[cpu|cuda]",
        help="Where the engine's process runs the networks (profile local). Default: cuda where there is an NVIDIA GPU "
        "and --runtime is given, else cpu.",
    ),
]
RuntimeName = Annotated[
    str | None,
    typer.Option(
        metavar=f"[{'|'.join((*RUNTIMES, AUTO))}]",
        help="What runs the networks (profile local). "
        + "; ".join(f"{each.name}: {each.summary}" for each in RUNTIMES.values())
        + f"; {AUTO}: the fastest that the machine and the set have. Default: {AUTO} with --device, else onnxruntime.",
    ),
]
WeightsFolder = Annotated[
    Path | None,
    typer.Option(help="Folder of the checkpoints (respin weights fetch) for --runtime torch. Default: the mini set's."),
]
GpuMemoryLimit = Annotated[
    int | None,
    typer.Option(
        "--gpu-memory-mib",
        metavar="N",
        min=1,
        help="GPU memory that the engine's process may take, MiB. Networks that do not fit at once make room for each "
        "other, which is said before they are loaded; what does not fit even so is refused. Default: no limit.",
    ),
]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="Let torch.compile compile the networks that gain by it, before the server is ready (--runtime torch). "
        "Default: on a GPU.",
    ),
]
Port = typer.Option(help="0 picks a free one.")
