"""Camera paths round an object, and animations of its views."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image

from respin.errors import InvalidInput
from respin.options import MAX_VIEWS
from respin.request import OPTIONS
from respin_client.results import EncodedImage

GIF_TICK_MS = 10
"""Time unit of a GIF, ms."""


def whole_turn(start: float, views: int) -> tuple[float, ...]:
    """Return azimuths all round the object.

    Args:
        start: first azimuth, degrees.
        views: number of views, 1..64.

    Returns:
        Degrees, 0 <= azimuth < 360, evenly spaced; the last is one step before the first.

    Raises:
        InvalidInput: too few views, or too many.
    """
    _check_views(views, 1)
    return tuple((start + 360 * view / views) % 360 for view in range(views))


def arc(start: float, end: float, views: int) -> tuple[float, ...]:
    """Return azimuths from one side to another.

    Args:
        start: first azimuth, degrees.
        end: last azimuth, degrees; less than a whole turn away.
        views: number of views, 2..64.

    Returns:
        Degrees, evenly spaced.

    Raises:
        InvalidInput: too few views or too many, an end that no request may ask for, or an arc of no length or of a
            whole turn.
    """
    _check_views(views, 2)
    OPTIONS["azimuth"].check("azimuth", (start, end))
    if not 0 < abs(end - start) < 360:
        raise InvalidInput(
            f"from {start:g} to {end:g} is {abs(end - start):g} degrees; send an arc of more than 0 and less than 360, "
            "or leave --to out to go all round"
        )
    return tuple(map(float, np.linspace(start, end, views)))


def _check_views(views: int, fewest: int) -> None:
    if not fewest <= views <= MAX_VIEWS:
        raise InvalidInput(f"views is {views}; send {fewest} to {MAX_VIEWS}")


def degrees(azimuth: float) -> str:
    """Format an azimuth for labels and file names: +0, +51.43, -60."""
    return f"{round(azimuth, 2) + 0.0:+g}"


def back_and_forth(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Return the frames forwards and backwards; each end is shown once, so that the loop does not pause there."""
    return [*frames, *frames[-2:0:-1]]


def webp(frames: Sequence[Image.Image], frame_ms: int, quality: int) -> EncodedImage:
    """Encode an animated WebP that loops for ever.

    Args:
        frames: pictures of one size, RGB; the first one's colour profile is used.
        frame_ms: duration of a frame, ms.
        quality: 0..100.
    """
    profile = frames[0].info.get("icc_profile")
    return _animated("WEBP", frames, duration=frame_ms, quality=quality, method=4, icc_profile=profile)


def gif(frames: Sequence[Image.Image], frame_ms: int) -> EncodedImage:
    """Encode an animated GIF that loops for ever; each frame has a palette of its own, and is dithered.

    Args:
        frames: pictures of one size, RGB.
        frame_ms: duration of a frame, ms; rounded so that the whole has the right duration within 5 ms.
    """
    ends = [round(frame_ms * count / GIF_TICK_MS) * GIF_TICK_MS for count in range(len(frames) + 1)]
    durations = [end - begin for begin, end in pairwise(ends)]
    return _animated("GIF", [_paletted(frame) for frame in frames], duration=durations)


def _paletted(frame: Image.Image) -> Image.Image:
    # Pillow dithers only towards a given palette.
    return frame.quantize(palette=frame.quantize(), dither=Image.Dither.FLOYDSTEINBERG)


def _animated(form: str, frames: Sequence[Image.Image], **options: object) -> EncodedImage:
    file = io.BytesIO()
    frames[0].save(file, form, save_all=True, append_images=frames[1:], loop=0, **options)
    return EncodedImage(file.getvalue())
