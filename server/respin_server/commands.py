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

from respin.bundled import bundled
from respin.errors import InternalError, InvalidInput
from respin.limits import DEFAULT_LIMITS, LIMITS, EngineLimits
from respin.profiles import DEFAULT_PROFILE, PROFILES
from respin_server.assemble import Assembled
from respin_server.assemble import assemble as assemble_repository
from respin_server.leftovers import owned_prefix
from respin_server.options import LOOPBACK, ServerOptions, check_embeddable, profile_by_name
from respin_server.restarts import DEFAULT_RESTARTS
from respin_server.wheel import SERVE_EXTRA_MISSING

_PROFILES_HELP = "; ".join(f"{profile.name}: {profile.summary}" for profile in PROFILES.values())

Models = Annotated[
    Path | None, typer.Option(help="Folder of the set of weights: manifest.json and <network>/<file>. Default: mini.")
]
ProfileName = Annotated[str | None, typer.Option(help=f"How the networks are served. {_PROFILES_HELP}. Default: cpu.")]
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
Port = typer.Option(help="0 picks a free one.")


def serve(
    command: Annotated[
        list[str] | None,
        typer.Argument(help="Run this once the server is ready, with its address in RESPIN_URL; stop when it ends."),
    ] = None,
    *,
    models: Models = None,
    profile: ProfileName = None,
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
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file; gRPC then uses TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="PEM file; clients must then present a certificate signed by it.")
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

        respin serve --host 0.0.0.0 --tls-certificate server.pem --tls-key server.key

        respin serve -- respin rotate --image laptop.jpg --class-name laptop --azimuth 80
    """
    with _repository(repository, models, profile, limit) as (folder, assembled):
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
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            tls_client_ca=tls_client_ca,
        )
        facts = {"profile": assembled.profile, "set": assembled.set_name}
        if assembled.notes:
            facts["note"] = "; ".join(assembled.notes)
        _run(options, facts, command or [], restarts)


def assemble(
    output: Annotated[Path, typer.Argument(help="Folder to create; one made by this command before is replaced.")],
    *,
    models: Models = None,
    profile: Annotated[str, typer.Option(help=_PROFILES_HELP)] = DEFAULT_PROFILE,
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
    chosen = profile_by_name(profile)
    limits = EngineLimits.from_texts(limit or [])
    made = assemble_repository(bundled("model_repository"), _set_folder(models), chosen, output, limits)
    typer.echo(f"{output}: set {made.set_name}, for --model-config-name {made.profile}")


@contextlib.contextmanager
def _repository(
    given: Path | None, models: Path | None, profile: str | None, limit: list[str] | None
) -> Iterator[tuple[Path, Assembled]]:
    """Return the repository to serve: the given one, or one assembled for this run."""
    if given is not None:
        assembled = Assembled.load(given)
        if models is not None or profile not in (None, assembled.profile) or limit:
            raise InvalidInput(
                f"'{given}' is assembled already, for profile {assembled.profile}; "
                "leave out --models, --profile and --limit, or assemble another"
            )
        yield given, assembled
        return
    chosen = profile_by_name(profile or DEFAULT_PROFILE)
    check_embeddable(chosen)
    with tempfile.TemporaryDirectory(prefix=owned_prefix()) as folder:
        repository = Path(folder) / "models"
        limits = EngineLimits.from_texts(limit or [])
        yield (
            repository,
            assemble_repository(bundled("model_repository"), _set_folder(models), chosen, repository, limits),
        )


def _set_folder(models: Path | None) -> Path:
    return bundled("models/mini") if models is None else models


def _key_in(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the admin key file '{file}' cannot be read ({error}); pass a text file") from None


def _run(options: ServerOptions, facts: dict[str, str], command: list[str], restarts: int) -> None:
    if importlib.util.find_spec("psutil") is None:
        raise InternalError(SERVE_EXTRA_MISSING)
    # Needs the packages of the serve extra.
    from respin_server.foreground import Foreground  # noqa: PLC0415

    foreground = Foreground(options, facts, Console(), command, restarts=restarts)
    died = foreground.run()
    if died is not None:
        raise InternalError(died)
    if foreground.exit_code:
        raise typer.Exit(foreground.exit_code)
