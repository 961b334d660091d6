"""A job, followed on the terminal from the request to its last picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.console import Console

from respin.request import RotationRequest
from respin_client.flags import client_from_flags
from respin_client.progress import StageBars
from respin_client.results import Event

Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars")]


def follow(
    request: RotationRequest,
    outputs: Sequence[str],
    take: Callable[[Event], None],
    *,
    quiet: bool,
    flags: Mapping[str, Any],
) -> None:
    """Ask for a job over the stream: draw its progress, print its notes.

    Args:
        request: what to do.
        outputs: which fields of the events to fill; notes come with them.
        take: is given each event.
        quiet: draw nothing.
        flags: that say how to reach the server.

    Raises:
        RespinError: as `Client.stream`, and what `take` raises.
    """
    with (
        client_from_flags(flags) as client,
        StageBars(Console(stderr=True), views=request.views, quiet=quiet) as bars,
        closing(client.stream(request, outputs=(*outputs, "notes"))) as events,
    ):
        for event in events:
            bars.show(event)
            take(event)
            tell(event.notes)


def tell(notes: Sequence[str]) -> None:
    """Print what a job has to say about its choices."""
    for note in notes:
        typer.echo(f"note: {note}")
