"""Results of a job: frozen dataclasses with the outputs that were requested."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from PIL import Image

from respin.specs import Array

BoxCorners = tuple[float, float, float, float]
"""(x0, y0, x1, y1) px of the upright photo."""

A = TypeVar("A", bound="Result")


class EncodedImage(bytes):
    """An encoded picture, the bytes of its file: `path.write_bytes(picture)`."""

    def pil(self) -> Image.Image:
        """Decode the picture."""
        image = Image.open(io.BytesIO(self))
        image.load()
        return image

    def __repr__(self) -> str:
        """Show the size in place of the bytes."""
        return f"EncodedImage({len(self)} bytes)"


def _picture(array: Array) -> EncodedImage:
    return EncodedImage(array.item())


def _pictures(array: Array) -> tuple[EncodedImage, ...]:
    return tuple(map(EncodedImage, array))


def _text(array: Array) -> str:
    return bytes(array.item()).decode()


def _texts(array: Array) -> tuple[str, ...]:
    return tuple(bytes(text).decode() for text in array)


def _box(array: Array) -> BoxCorners:
    x0, y0, x1, y1 = map(float, array)
    return x0, y0, x1, y1


def _view(array: Array) -> int | None:
    return None if array.item() < 0 else int(array.item())


def _integer(array: Array) -> int:
    return int(array.item())


def _number(array: Array) -> float:
    return float(array.item())


def _by(decode: Callable[[Array], Any]) -> dict[str, Any]:
    return {"decode": decode}


@dataclass(frozen=True, kw_only=True)
class Result:
    """Fields of every result: the job's outputs, by their names on the wire.

    Args:
        mask: PNG, 8-bit grey, the photo's size: 255 on the object, 0 elsewhere.
        cut_out: PNG, RGBA, the photo's size: the object, transparent elsewhere.
        box: box of the object, px of the upright photo.
        score: score of the detection, 0..1; 1 if the request had a box.
        phrase: words of the class name that were found; empty if the request had a box.
        notes: sentences about choices of the job.
    """

    mask: EncodedImage | None = field(default=None, metadata=_by(_picture))
    cut_out: EncodedImage | None = field(default=None, metadata=_by(_picture))
    box: BoxCorners | None = field(default=None, metadata=_by(_box))
    score: float | None = field(default=None, metadata=_by(_number))
    phrase: str | None = field(default=None, metadata=_by(_text))
    notes: tuple[str, ...] = field(default=(), metadata=_by(_texts))

    @classmethod
    def from_arrays(cls: type[A], arrays: Mapping[str, Array]) -> A:
        """Read a response that matches the job's contract; missing outputs stay None or empty."""
        return cls(
            **{each.name: each.metadata["decode"](arrays[each.name]) for each in fields(cls) if each.name in arrays}
        )


@dataclass(frozen=True, kw_only=True)
class RotationResult(Result):
    """The result of `Client.rotate_object`.

    Args:
        image: each view in the photo, in the order of the angles; without angles the object on white.
        novel_view: each view's object alone, on white.
        background: the photo without the object; None without angles.
    """

    image: tuple[EncodedImage, ...] = field(default=(), metadata=_by(_pictures))
    novel_view: tuple[EncodedImage, ...] = field(default=(), metadata=_by(_pictures))
    background: EncodedImage | None = field(default=None, metadata=_by(_picture))


@dataclass(frozen=True, kw_only=True)
class SegmentationResult(Result):
    """The result of `Client.segment_object`.

    Args:
        image: the object on white.
    """

    image: EncodedImage | None = field(default=None, metadata=_by(_picture))


@dataclass(frozen=True, kw_only=True)
class RotationEvent(Result):
    """One message of `Client.stream`.

    Args:
        stage: detection, segmentation, novel_view, super_resolution, outline, composition, background, or done, which
            is the last.
        view: number of the camera move, from 0; None = all.
        step: denoising steps done.
        steps: all denoising steps; 0 if the stage has none.
        image: one view in the photo; without angles the object on white.
        novel_view: the view's object alone, on white.
        background: the photo without the object.
    """

    stage: str = field(default="", metadata=_by(_text))
    view: int | None = field(default=None, metadata=_by(_view))
    step: int = field(default=0, metadata=_by(_integer))
    steps: int = field(default=0, metadata=_by(_integer))
    image: EncodedImage | None = field(default=None, metadata=_by(_picture))
    novel_view: EncodedImage | None = field(default=None, metadata=_by(_picture))
    background: EncodedImage | None = field(default=None, metadata=_by(_picture))


PROGRESS = ("stage", "view", "step", "steps")
"""Outputs that every message of a stream carries."""
