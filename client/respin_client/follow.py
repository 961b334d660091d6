"""Run a job and show its progress on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.console import Console

from respin.request import RotationRequest
from respin_client.flags import client_from_flags
from respin_client.progress import StageBars
from respin_client.results import Result, RotationEvent

Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars")]


def follow(
    request: RotationRequest,
    outputs: Sequence[str],
    take: Callable[[RotationEvent], None],
    *,
    quiet: bool,
    flags: Mapping[str, Any],
    known_notes: Container[str] = (),
) -> tuple[str, ...]:
    """Run a job over the stream: draw its progress, print its notes.

    Args:
        request: photo, object and angles.
        outputs: fields of the events to fill, beside the notes.
        take: called with each event.
        quiet: draw nothing.
        flags: flags of the connection.
        known_notes: notes that were printed before and are not repeated.

    Returns:
        The job's notes.

    Raises:
        RespinError: as `Client.stream`, and errors of `take`.
    """
    notes: list[str] = []
    with (
        client_from_flags(flags) as client,
        StageBars(Console(stderr=True), request, quiet=quiet) as bars,
        closing(client.stream(request, outputs=(*outputs, "notes"))) as events,
    ):
        for event in events:
            bars.show(event)
            take(event)
            for note in event.notes:
                if note not in known_notes:
                    bars.print_note(f"note: {note}")
            notes += event.notes
    return tuple(notes)


def print_notes(notes: Sequence[str]) -> None:
    """Print the notes of a job."""
    for note in notes:
        typer.echo(f"note: {note}")


def print_box(request: RotationRequest, answer: Result) -> None:
    """Print where the object was found, or that nothing was looked for, if the answer has a box and a score."""
    if answer.box is None or answer.score is None:
        return
    box = ", ".join(f"{edge:.0f}" for edge in answer.box)
    if request.box is not None:
        typer.echo(
            f"took the box that was given, {box} px; nothing was detected, so whether it holds the object is open"
        )
        return
    typer.echo(f"found at {box} px, score {answer.score:.2f}")
