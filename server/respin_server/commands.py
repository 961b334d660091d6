"""`respin serve` and `respin assemble`.

The `respin` command imports this module for its `--help`, even if the serve extra is not installed: its packages are
imported inside the functions.
"""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from respin.bundled import bundled_path
from respin.errors import InternalError, InvalidInput
from respin.limits import EngineLimits
from respin.profiles import DEFAULT_PROFILE, Profile
from respin_server.assemble import Assembled
from respin_server.assemble import assemble as assemble_repository
from respin_server.choice import Choice, Installed, Wanted, choose
from respin_server.leftovers import owned_prefix
from respin_server.options import (
    IN_PROCESS_START_S,
    LOOPBACK,
    START_S,
    ServerOptions,
    check_embeddable,
    profile_by_name,
)
from respin_server.restarts import DEFAULT_HELD_MIB, DEFAULT_RESTARTS
from respin_server.shared_options import (
    PROFILES_HELP,
    Compile,
    DeviceName,
    GpuMemoryLimit,
    Limit,
    Models,
    Port,
    ProfileName,
    RuntimeName,
    WeightsFolder,
)
from respin_server.wheel import SERVE_EXTRA_MISSING


def serve(
    command: Annotated[
        list[str] | None,
        typer.Argument(help="Run this once the server is ready, with its address in RESPIN_URL; stop when it ends."),
    ] = None,
    *,
    models: Models = None,
    profile: ProfileName = None,
    device: DeviceName = None,
    runtime: RuntimeName = None,
    weights: WeightsFolder = None,
    gpu_memory_mib: GpuMemoryLimit = None,
    compiled: Compile = None,
    repository: Annotated[
        Path | None, typer.Option(help="A repository made by `respin assemble`, instead of --models.")
    ] = None,
    limit: Limit = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 = all interfaces.")] = LOOPBACK,
    grpc_port: Annotated[int, Port] = 8001,
    http_port: Annotated[
        int | None,
        typer.Option(
            help="Port of the HTTP API, on loopback; 0 picks a free one. Default: none. One malformed HTTP request "
            "ends tritonserver, so open it to programs that you trust."
        ),
    ] = None,
    metrics_port: Annotated[int, Port] = 8002,
    admin_key_file: Annotated[
        Path | None, typer.Option(help="File with the key for the admin APIs. Default: they are closed.")
    ] = None,
    log_file: Annotated[
        Path | None,
        typer.Option(help="Append the server's log to this file. Default: a temporary file."),
    ] = None,
    exit_timeout_s: Annotated[int, typer.Option(help="Seconds that a stop waits for requests in flight.")] = 30,
    restarts: Annotated[
        int, typer.Option(min=0, help="How often within ten minutes the server is restarted if it dies.")
    ] = DEFAULT_RESTARTS,
    restart_above_mib: Annotated[
        int,
        typer.Option(
            metavar="MIB",
            min=0,
            help="Memory of tritonserver and its shared regions above which it is restarted, once its jobs are done: "
            "Triton does not give all of it back. 0 = never.",
        ),
    ] = DEFAULT_HELD_MIB,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file; gRPC then uses TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="PEM file; clients must then present a certificate signed by it.")
    ] = None,
    tritonserver: Annotated[
        Path | None,
        typer.Option(
            envvar="RESPIN_TRITONSERVER",
            help="Folder into which the nvidia-pytriton wheel was unpacked. Default: the installed wheel.",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every request.")] = False,
) -> None:
    """Serve the networks and jobs on this machine with the embedded Triton.

    Runs until Ctrl-C or SIGTERM; requests in flight may finish. If the server or the process of a model dies, the
    server is restarted on the same ports. Exits with 0 when stopped, 1 if it died too often, 2 if it could not be
    launched; with a COMMAND, with the command's code.

    For example:

        respin serve

        respin serve --models models/full --profile local --limit max_jobs=128 --limit cache_mib=0

        respin serve --device cuda --runtime torch --weights weights

        respin serve --host 0.0.0.0 --tls-certificate server.pem --tls-key server.key

        respin serve -- respin rotate --image laptop.jpg --class-name laptop --azimuth 80
    """
    wanted = Wanted(device, runtime, weights, gpu_memory_mib, compiled)
    with _repository(repository, models, profile, limit, wanted) as (folder, assembled):
        options = ServerOptions(
            repository=folder,
            profile=assembled.profile,
            host=host,
            grpc_port=grpc_port,
            http_port=http_port,
            metrics_port=metrics_port,
            exit_timeout_s=exit_timeout_s,
            admin_key=None if admin_key_file is None else _key_in(admin_key_file),
            log_file=log_file,
            verbose=verbose,
            start_timeout_s=IN_PROCESS_START_S if assembled.runtime else START_S,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            tls_client_ca=tls_client_ca,
            tritonserver=tritonserver,
        )
        facts = {"profile": assembled.profile, "set": assembled.set_name}
        if assembled.runtime:
            facts["runtime"] = assembled.runtime
        if assembled.notes:
            facts["note"] = "; ".join(assembled.notes)
        _run(options, facts, command or [], restarts, restart_above_mib)


def assemble(
    output: Annotated[Path, typer.Argument(help="Folder to create; one made by this command before is replaced.")],
    *,
    models: Models = None,
    profile: Annotated[
        str | None, typer.Option(help=f"{PROFILES_HELP}. Default: cpu, or local with a runtime.")
    ] = None,
    device: DeviceName = None,
    runtime: RuntimeName = None,
    weights: WeightsFolder = None,
    gpu_memory_mib: GpuMemoryLimit = None,
    compiled: Compile = None,
    limit: Limit = None,
) -> None:
    """Assemble a model repository for Triton from links to a set's files; nothing is copied.

    Every file of the set is verified against the SHA-256 in its manifest first. The links are absolute: to serve the
    repository in a container or on another machine, mount the set and the installation at the same paths.

    For example:

        respin assemble served

        respin assemble served --models models/full --profile tensorrt

        tritonserver --model-repository served --model-config-name tensorrt
    """
    made = _assemble(output, models, profile, limit, Wanted(device, runtime, weights, gpu_memory_mib, compiled))
    typer.echo(f"{output}: set {made.set_name}, for --model-config-name {made.profile}")


@contextlib.contextmanager
def _repository(
    given: Path | None, models: Path | None, profile: str | None, limit: list[str] | None, wanted: Wanted
) -> Iterator[tuple[Path, Assembled]]:
    """Return the repository to serve: the given one, or one assembled for this run."""
    if given is not None:
        assembled = Assembled.load(given)
        if models is not None or profile not in (None, assembled.profile) or limit or not wanted.is_default:
            raise InvalidInput(
                f"'{given}' is assembled already, for profile {assembled.profile}; leave out --models, --profile, "
                "--device, --runtime, --weights, --gpu-memory-mib, --compile and --limit, or assemble another"
            )
        yield given, assembled
        return
    check_embeddable(_profile(profile, wanted))
    with tempfile.TemporaryDirectory(prefix=owned_prefix()) as folder:
        repository = Path(folder) / "models"
        yield repository, _assemble(repository, models, profile, limit, wanted)


def _assemble(
    output: Path, models: Path | None, profile: str | None, limit: list[str] | None, wanted: Wanted
) -> Assembled:
    """Assemble a repository, by the runtime that was asked for; say which before anything is loaded."""
    chosen = _profile(profile, wanted)
    limits = EngineLimits.from_texts(limit or [])
    choice: Choice | None = None
    if not wanted.is_default:
        if models is not None and wanted.weights is not None:
            raise InvalidInput("--models names a set and --weights checkpoints in its place; give one of them")
        choice = choose(wanted, _set_folder(models), Installed.detect(), limits.unet_batch)
        typer.echo(f"runtime: {choice.sentence}")
    return assemble_repository(
        bundled_path("model_repository"), _set_folder(models), chosen, output, limits, choice=choice
    )


def _profile(name: str | None, wanted: Wanted) -> Profile:
    """Return the profile: `local` where a runtime is asked for, unless another one is named."""
    chosen = profile_by_name(name or (DEFAULT_PROFILE if wanted.is_default else "local"))
    if not wanted.is_default and chosen.networks != "in_process":
        raise InvalidInput(
            f"--device, --runtime, --weights and --gpu-memory-mib are for networks in the engine's process and profile "
            f"'{chosen.name}' has them elsewhere; use --profile local, or leave --profile out"
        )
    return chosen


def _set_folder(models: Path | None) -> Path:
    return bundled_path("models/mini") if models is None else models


def _key_in(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the admin key file '{file}' cannot be read ({error}); pass a text file") from None


def _run(
    options: ServerOptions, facts: dict[str, str], command: list[str], restarts: int, restart_above_mib: int
) -> None:
    if importlib.util.find_spec("psutil") is None:
        raise InternalError(SERVE_EXTRA_MISSING)
    # Needs the packages of the serve extra.
    from respin_server.foreground import Foreground  # noqa: PLC0415

    foreground = Foreground(options, facts, Console(), command, restarts=restarts, held_mib=restart_above_mib)
    died = foreground.run()
    if died is not None:
        raise InternalError(died)
    if foreground.exit_code:
        raise typer.Exit(foreground.exit_code)
