"""The `respin` command."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from respin.errors import ContractMismatch, InvalidInput, ObjectNotFound, RespinError
from respin_client.batch.command import EXAMPLES as BATCH_EXAMPLES
from respin_client.batch.command import INTERRUPTED, batch
from respin_client.contributed import GROUP, add_contributed
from respin_client.demo import EXAMPLES as DEMO_EXAMPLES
from respin_client.demo import demo
from respin_client.doctor import doctor
from respin_client.files import (
    STANDARD_STREAM,
    SUFFIXES,
    RotationFiles,
    check_writable,
    format_of,
    keep_standard_output_for,
    picture_format,
    write,
)
from respin_client.flags import CONNECTION_FLAGS, client_from_flags, request_flags, request_from_flags, with_flags
from respin_client.follow import Quiet, follow, print_box, print_notes
from respin_client.scene import EXAMPLES as SCENE_EXAMPLES
from respin_client.scene import scene
from respin_client.spin import EXAMPLES as SPIN_EXAMPLES
from respin_client.spin import spin

EXIT_STATUSES: dict[type[RespinError], int] = {InvalidInput: 2, ContractMismatch: 2, ObjectNotFound: 3}
"""Exit status for each error; 1 for all others."""

SEGMENTATION_OPTIONS = ("image", "class_name", "box", "box_threshold", "text_threshold", "mask_choice")
"""Fields of a request that a mask depends on."""

EXAMPLES = """\b
Examples:
  respin doctor                                      what is installed, and what can run here
  respin serve                                       start a server on this machine
  respin rotate --image laptop.jpg --class-name laptop --azimuth +80
  respin spin --image laptop.jpg --class-name laptop --views 12 --output spin.webp
  respin batch photos --class-name laptop --azimuth 80 --output turned
  respin segment --image laptop.jpg --class-name laptop

\b
Exit statuses:
  0    done
  1    the server failed, did not answer in time, or is not there; of a batch: some photos are not done
  2    a flag, a file, the request or a version is wrong: the message says how to fix it
  3    the photo does not show the object
  130  interrupted
"""

ROTATE_EXAMPLES = """\b
Examples:
  respin rotate --image laptop.jpg --class-name laptop --azimuth +80 --polar +0 --output generated.png
  respin rotate --image laptop.jpg --class-name laptop --azimuth -40 --azimuth 40     two views
  respin rotate --image laptop.jpg --class-name laptop --azimuth 80 --save parts      every part as well
  respin rotate --image laptop.jpg --class-name laptop                                the object on white
  respin rotate --image - --class-name laptop --azimuth 80 --output - < laptop.jpg > generated.png
"""

SEGMENT_EXAMPLES = """\b
Example:
  respin segment --image laptop.jpg --class-name laptop --output mask.png --cut-out laptop.png
"""


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"respin {metadata.version('respin')}")
        raise typer.Exit


def _before_any_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave")
    ] = False,
) -> None:
    """Turn the object in a photograph."""


@with_flags(request_flags(), CONNECTION_FLAGS)
def rotate(
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="PNG, JPEG or WebP by its suffix; of several views NAME-0, NAME-1, ...; - is standard output; "
            "default generated.png",
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="For every part as well (mask, cut-out, novel views, background), and sheet.png of them all",
        ),
    ] = None,
    quiet: Quiet = False,
    **flags: Any,
) -> None:
    """Turn the object of a photo.

    Each view is written as soon as it is done. Without angles, the object is cut out onto white.
    """
    output = output or Path("generated").with_suffix(SUFFIXES.get(flags["output_format"], ".png"))
    flags["output_format"] = picture_format(output, flags["output_format"])
    request = request_from_flags(flags)
    outputs = ["image"]
    if save is not None:
        outputs += ["mask", "cut_out"] if request.views == 0 else ["mask", "cut_out", "novel_view", "background"]
    files = RotationFiles(output, save, output_format=request.output_format, views=max(1, request.views))
    with keep_standard_output_for(output):
        follow(request, outputs, files.take, quiet=quiet, flags=flags)
        files.finish(request.image)


@with_flags(request_flags(SEGMENTATION_OPTIONS), CONNECTION_FLAGS)
def segment(
    *,
    output: Annotated[Path, typer.Option(metavar="FILE", help="For the mask, a PNG; - is standard output")] = Path(
        "mask.png"
    ),
    cut_out: Annotated[Path | None, typer.Option(metavar="FILE", help="For the object on transparency, a PNG")] = None,
    **flags: Any,
) -> None:
    """Write the mask of an object."""
    destinations = {"mask": output} if cut_out is None else {"mask": output, "cut_out": cut_out}
    _check_segment_files(*destinations.values())
    request = request_from_flags(flags)
    with client_from_flags(flags) as client:
        result = client.segment_object(request, outputs=(*destinations, "box", "score", "notes"))
    with keep_standard_output_for(*destinations.values()):
        print_box(request, result)
        print_notes(result.notes)
        for name, path in destinations.items():
            write(path, getattr(result, name))


def _check_segment_files(*paths: Path) -> None:
    if paths.count(STANDARD_STREAM) > 1:
        raise InvalidInput("mask and cut-out do not go into one standard output; name a file for one of them")
    for path in paths:
        if path != STANDARD_STREAM:
            format_of(path, {".png": "png"}, "masks and cut-outs are PNGs: name a .png file")
    check_writable(*paths)


def command_line(entry_points: Iterable[metadata.EntryPoint]) -> typer.Typer:
    """Return the command with its sub-commands.

    Args:
        entry_points: sub-commands that other parts of Respin add.
    """
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        epilog=EXAMPLES,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_before_any_command)
    app.command(epilog=ROTATE_EXAMPLES)(rotate)
    app.command(epilog=SPIN_EXAMPLES)(spin)
    app.command(epilog=BATCH_EXAMPLES)(batch)
    app.command(epilog=SEGMENT_EXAMPLES)(segment)
    app.command(epilog=DEMO_EXAMPLES)(demo)
    app.command(epilog=SCENE_EXAMPLES)(scene)
    app.command()(doctor)
    add_contributed(app, entry_points)
    return app


def main(arguments: Sequence[str] | None = None, entry_points: Iterable[metadata.EntryPoint] | None = None) -> None:
    """Run the command, and exit with its status.

    Args:
        arguments: command line without the program's name; None = that of this process.
        entry_points: sub-commands that other parts of Respin add; None = those that are installed.
    """
    # gRPC's core logs each failed handshake to standard error, beside the sentence that the error has here.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        app = command_line(metadata.entry_points(group=GROUP) if entry_points is None else entry_points)
        app(arguments, prog_name="respin")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except RespinError as error:
        typer.echo(f"respin: {error}", err=True)
        sys.exit(EXIT_STATUSES.get(type(error), 1))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        typer.echo("respin: the disk that the output goes to is full; free some space", err=True)
        sys.exit(1)
