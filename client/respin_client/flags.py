"""Command-line flags that are derived from the fields and functions that they set.

Typer derives a command's flags from its signature. `with_flags` puts parameters into that signature that the function
itself takes as `**flags`: one for each field of a request, and those of functions such as `connection`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from respin.errors import InvalidInput
from respin.options import OptionKind
from respin.request import DEFAULTS, OPTIONS, RotationRequest
from respin_client.client import DEFAULT_TIMEOUT_S, DEFAULT_URL, Client
from respin_client.files import STANDARD_STREAM
from respin_client.photos import photo_from_standard_input, request_from_photo
from respin_client.retries import MAX_RETRIES
from respin_client.transport import TLS

Command = Callable[..., None]

T = TypeVar("T")

_TYPES: dict[OptionKind, tuple[Any, str]] = {
    "image": (Path, "FILE"),
    "text": (str, "TEXT"),
    "choice": (str, "WORD"),
    "integer": (int, "INTEGER"),
    "number": (float, "NUMBER"),
    "angles": (list[float], "DEGREES"),
    "box": (tuple[float, float, float, float], "X0 Y0 X1 Y1"),
}
"""Type and metavar for each kind of field."""


def with_flags(*groups: Iterable[inspect.Parameter]) -> Callable[[Command], Command]:
    """Return a decorator that shows typer the parameters of `groups` in place of a function's `**flags`."""

    def extended(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters.values()
        shown = [each for group in groups for each in group]
        shown += [each for each in own if each.kind is not inspect.Parameter.VAR_KEYWORD]
        command.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in shown}
        return command

    return extended


def flags_of(made: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """Return a function's parameters as flags."""
    return tuple(inspect.signature(made, eval_str=True).parameters.values())


def call_with_flags(made: Callable[..., T], flags: Mapping[str, Any]) -> T:
    """Call a function with its own parameters among `flags`."""
    return made(**{name: flags[name] for name in inspect.signature(made).parameters})


def request_flags(names: Sequence[str] = tuple(OPTIONS)) -> list[inspect.Parameter]:
    """Return one flag for each named field of a request, with the field's meaning, range and default.

    Every flag is optional, and None (or an empty list) if it is not given.
    """
    return [_request_flag(name) for name in names]


def _request_flag(name: str) -> inspect.Parameter:
    option = OPTIONS[name]
    kind, metavar = _TYPES[option.kind]
    several = option.kind == "angles"
    flag = typer.Option(f"--{name.replace('_', '-')}", help=_help(name), metavar=metavar)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if option.required else [] if several else None,
        annotation=Annotated[kind if option.required or several else kind | None, flag],
    )


def _help(name: str) -> str:
    option, default = OPTIONS[name], DEFAULTS[name]
    meaning = option.meaning[:1].upper() + option.meaning[1:]
    stream = "; - reads standard input" if option.kind == "image" else ""
    again = "; give the flag again for each further view" if option.kind == "angles" else ""
    unless = "" if option.required or default in (None, ()) else f"; default {default}"
    return f"{meaning}{stream}{again} ({option.range_text}{unless})"


def connection(
    *,
    url: Annotated[
        str, typer.Option(metavar="HOST:PORT", envvar="RESPIN_URL", help="Address of the server's gRPC port")
    ] = DEFAULT_URL,
    timeout_s: Annotated[float, typer.Option(metavar="SECONDS", help="Deadline of the whole")] = DEFAULT_TIMEOUT_S,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt; trust the authorities that gRPC comes with")] = False,
    tls_root: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file: encrypt; trust this authority alone")
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file: encrypt; show this certificate")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file: private key of that certificate")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME:VALUE", help="Sent with each call; may be repeated")
    ] = None,
) -> dict[str, Any]:
    """Make arguments of a `Client` of the flags that say how to reach the server."""
    wanted = tls or tls_root or tls_certificate or tls_key
    return {
        "url": url,
        "timeout_s": timeout_s,
        "tls": TLS(tls_root, tls_certificate, tls_key) if wanted else None,
        "headers": dict(map(_header, header or [])),
    }


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise InvalidInput(f"header is '{text}'; send NAME:VALUE, e.g. --header 'authorization: Bearer ...'")
    return name.strip(), value.strip()


CONNECTION_FLAGS = flags_of(connection)


def client_from_flags(flags: Mapping[str, Any], *, retries: int = MAX_RETRIES) -> Client:
    """The client that the connection's flags among `flags` ask for; `retries` as of `Client`."""
    return Client(**call_with_flags(connection, flags), retries=retries)


def request_from_flags(flags: Mapping[str, Any]) -> RotationRequest:
    """Return a request from the request's flags among `flags`.

    A missing flag keeps the default; the photo "-" is read from standard input.

    Raises:
        InvalidInput: as `request_from_photo`.
    """
    given = {name: flags[name] for name in OPTIONS if flags.get(name) not in (None, [])}
    photo = given.pop("image")
    return request_from_photo(photo_from_standard_input() if photo == STANDARD_STREAM else photo, **given)
