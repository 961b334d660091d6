"""`respin spin`: views all round the object, as an animation."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from respin.errors import InternalError, InvalidInput, RespinError
from respin.options import MAX_VIEWS
from respin.request import OPTIONS, RotationRequest
from respin_client.files import format_of
from respin_client.flags import (
    CONNECTION_FLAGS,
    call_with_flags,
    flags_of,
    request_flags,
    request_from_flags,
    with_flags,
)
from respin_client.follow import Quiet, follow
from respin_client.frames import Frames
from respin_client.results import EncodedImage
from respin_client.turntable import arc, back_and_forth, gif, webp, whole_turn

ANIMATIONS = {".webp": "webp", ".gif": "gif"}
"""Format of an animation for each suffix of a file."""

LEAST_FRAME_MS, LONGEST_FRAME_MS = 20, 10_000
"""Shortest and longest duration of a frame, ms: browsers slow down GIFs with shorter ones."""

WEBP_QUALITY = 85

EXAMPLES = """\b
Examples:
  respin spin --image laptop.jpg --class-name laptop --views 12 --output spin.webp     all round, in steps of 30
  respin spin --image laptop.jpg --class-name laptop --from -60 --to 60 --output swing.gif
  respin spin --image laptop.jpg --class-name laptop --object-only --polar -20         seen from above, on white
"""


def camera_moves(
    *,
    views: Annotated[int, typer.Option(metavar="INTEGER", help=f"How many, evenly spaced (1 to {MAX_VIEWS})")] = 12,
    start: Annotated[float, typer.Option("--from", metavar="DEGREES", help="Azimuth of the first view")] = 0.0,
    end: Annotated[
        float | None,
        typer.Option("--to", metavar="DEGREES", help="Azimuth of the last: swing there and back, not all round"),
    ] = None,
    polar: Annotated[
        float, typer.Option(metavar="DEGREES", help=f"Of every view ({OPTIONS['polar'].range_text}; positive is down)")
    ] = 0.0,
) -> dict[str, Any]:
    """Return azimuth and polar of a request from the flags of the camera's path."""
    return {"azimuth": whole_turn(start, views) if end is None else arc(start, end, views), "polar": polar}


@with_flags(
    request_flags([name for name in OPTIONS if name not in ("azimuth", "polar", "output_format")]),
    CONNECTION_FLAGS,
    flags_of(camera_moves),
)
def spin(
    *,
    object_only: Annotated[
        bool, typer.Option("--object-only", help="The object on white, not composed into the photo")
    ] = False,
    output: Annotated[Path, typer.Option(metavar="FILE", help="WebP or GIF by its suffix")] = Path("spin.webp"),
    frames: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="For the single views; default NAME-frames beside the output")
    ] = None,
    frame_ms: Annotated[
        int,
        typer.Option(metavar="INTEGER", help=f"How long each is shown ({LEAST_FRAME_MS} to {LONGEST_FRAME_MS} ms)"),
    ] = 100,
    quality: Annotated[
        int | None, typer.Option(metavar="INTEGER", help=f"Of a WebP (0 to 100; default {WEBP_QUALITY})")
    ] = None,
    quiet: Quiet = False,
    **flags: Any,
) -> None:
    """Turn the object all round, as an animation that loops.

    All views are one request. Each is written as soon as it is done; animation and contact sheet follow at the end.
    """
    form = format_of(output, ANIMATIONS, "name another file")
    _check_encoding(form, frame_ms, quality)
    request = request_from_flags({**flags, **call_with_flags(camera_moves, flags)})
    files = Frames(frames, output, request.azimuth, "novel_view" if object_only else "image")
    pictures = follow_views(request, files, quiet=quiet, flags=flags)
    played = pictures if flags["end"] is None else back_and_forth(pictures)
    files.finish(_animation(form, played, frame_ms, quality), pictures)


def follow_views(
    request: RotationRequest,
    files: Frames,
    *,
    quiet: bool,
    flags: Mapping[str, Any],
    known_notes: Container[str] = (),
) -> list[Image.Image]:
    """Request all views of a spin at once, and write each as soon as it is done.

    Args:
        request: photo, object and the angles of the views.
        files: files of the views.
        quiet: draw no progress.
        flags: flags of the connection.
        known_notes: notes that were printed before and are not repeated.

    Returns:
        The views in the order of the angles, RGB.

    Raises:
        RespinError: as `follow`; the message has the number of views that arrived.
        InternalError: the stream ended without a view.
    """
    try:
        follow(request, [files.shown], files.take, quiet=quiet, flags=flags, known_notes=known_notes)
    except RespinError as error:
        if not files.came:
            raise
        raise type(error)(f"{error} ({files.count})") from error
    if files.missing:
        raise InternalError(f"{files.count}, and none for azimuth {files.missing[0]}; the server's log has the reason")
    return files.pictures()


def _check_encoding(form: str, frame_ms: int, quality: int | None) -> None:
    if not LEAST_FRAME_MS <= frame_ms <= LONGEST_FRAME_MS:
        raise InvalidInput(f"frame_ms is {frame_ms}; send {LEAST_FRAME_MS} to {LONGEST_FRAME_MS}")
    if quality is not None and form == "gif":
        raise InvalidInput("quality is for WebP, and a GIF has none; leave it out, or name a .webp file")
    if quality is not None and not 0 <= quality <= 100:
        raise InvalidInput(f"quality is {quality}; send 0 to 100")


def _animation(form: str, frames: list[Image.Image], frame_ms: int, quality: int | None) -> EncodedImage:
    if form == "gif":
        return gif(frames, frame_ms)
    return webp(frames, frame_ms, WEBP_QUALITY if quality is None else quality)
