"""How large a job is, from its request alone: the memory that it takes, and the messages that answer it."""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from respin.errors import InvalidInput
from respin.limits import MAX_MESSAGE_BYTES
from respin.model_set import Sizes
from respin.request import RotationRequest
from respin_ensemble.imaging.codec import LARGEST_ASPECT, LARGEST_PROFILE_BYTES
from respin_ensemble.pipeline.rotate_object import views_at_once

FIXED_BYTES = 32 * 2**20
"""Memory of a job whatever the size of its photo: inputs and outputs of the networks."""

VIEW_BYTES = 48
"""Memory per pixel of an enlarged view while it is finished: EDSR's output as float32, and the inputs of the networks
that look at it."""

PHOTO_BYTES = 8
"""Memory per pixel of the photo as long as the job works: photo, mask and background."""

FINISH_BYTES = 20
"""Memory per pixel of the photo for each view that is finished: composed, encoded, and copied into a response. Painting
the background takes as much, before the first view is composed."""

STRIP_BYTES = 12
"""Memory per pixel of an enlarged view after its rows were scaled to the photo."""

ANSWER_COPIES = 3
"""Number of copies of a collected answer in memory: files, a serialised tensor, and Triton's response."""

UPSCALE = 4

_CHANNELS = {"image": 3, "novel_view": 3, "background": 3, "cut_out": 4, "mask": 1}
"""Channels of each picture, which takes at most one byte per channel and pixel: PNG stores what does not compress, JPEG
and WebP of quality 95 stay below."""

_PER_VIEW = ("image", "novel_view")

_HEADER_BYTES = 64 * 1024
"""Bytes of a file beyond its pixels and its ICC profile; PNG adds a byte per row, and five per block."""


@dataclass(frozen=True)
class JobSize:
    """The size of one job.

    Args:
        held_bytes: memory while it waits for a worker: its photo's file.
        working_bytes: memory at its peak while it works.
        message_bytes: limit on its largest response.
    """

    held_bytes: int
    working_bytes: int
    message_bytes: int


def job_size(
    request: RotationRequest, pixels: int, outputs: AbstractSet[str], sizes: Sizes, *, collected: bool
) -> JobSize:
    """Return the size of a job.

    Args:
        request: the request.
        pixels: pixels of its photo.
        outputs: outputs that the caller asked for.
        sizes: sizes of the set.
        collected: whether all results travel in one response.

    Raises:
        InvalidInput: a response could be longer than a message may be.
    """
    side = UPSCALE * sizes.view_side
    at_once = views_at_once(request.views, pixels)
    message = _longest_message(request, pixels, outputs, side**2, collected=collected)
    if message > MAX_MESSAGE_BYTES:
        raise InvalidInput(_too_long(request, pixels, outputs, message, collected=collected))
    working = FIXED_BYTES + PHOTO_BYTES * pixels + at_once * (VIEW_BYTES * side**2 + FINISH_BYTES * pixels)
    if request.views:
        longest = math.sqrt(LARGEST_ASPECT * pixels) / sizes.object_share
        working += int(at_once * STRIP_BYTES * side * longest)
    if collected:
        working += ANSWER_COPIES * message
    held = 2 * len(request.image)
    return JobSize(held, held + working, message)


def _longest_message(
    request: RotationRequest, pixels: int, outputs: AbstractSet[str], view_pixels: int, *, collected: bool
) -> int:
    """Return a limit on the bytes of the longest response of a job."""
    size = {
        name: channels * (view_pixels if name == "novel_view" else pixels) * 1001 // 1000
        + LARGEST_PROFILE_BYTES
        + _HEADER_BYTES
        for name, channels in _CHANNELS.items()
        if name in outputs
    }
    views = sum(size.get(name, 0) for name in _PER_VIEW)
    found = size.get("mask", 0) + size.get("cut_out", 0)
    if not request.views:
        return found + size.get("image", 0)
    background = size.get("background", 0)
    return found + background + request.views * views if collected else max(found, background, views)


def _too_long(
    request: RotationRequest, pixels: int, outputs: AbstractSet[str], message_bytes: int, *, collected: bool
) -> str:
    pictures = ", ".join(name for name in _CHANNELS if name in outputs)
    cure = "fewer views or outputs, a smaller photo, or rotate_object_stream, which sends each view as it is done"
    if not collected or not request.views:
        cure = "fewer outputs, or a smaller photo"
    return (
        f"the answer may have {message_bytes / 2**20:.0f} MiB: {pictures} of {max(1, request.views)} views of "
        f"{pixels / 1e6:.1f} megapixels; a message holds {MAX_MESSAGE_BYTES // 2**20} MiB. Ask for {cure}"
    )
