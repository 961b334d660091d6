"""The files that the `respin` command writes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import typer
from PIL import Image, ImageOps

from respin.errors import InternalError, InvalidInput
from respin_client.contact_sheet import contact_sheet
from respin_client.results import Event, Picture

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
"""The format of a picture by its file's suffix."""


def format_of(path: Path) -> str:
    """The output format that a file's suffix stands for.

    Raises:
        InvalidInput: it stands for none.
    """
    if path.suffix.lower() not in FORMATS:
        raise InvalidInput(f"'{path}' ends in none of {', '.join(FORMATS)}; name another file, or give --output-format")
    return FORMATS[path.suffix.lower()]


def refuse_without_folder(path: Path) -> None:
    """Refuse a file whose folder is not there, before the work and not after it.

    Raises:
        InvalidInput: no such folder.
    """
    if not path.parent.is_dir():
        raise InvalidInput(f"no folder '{path.parent}' to write '{path.name}' into; make it first")


def write(path: Path, picture: Picture | None) -> None:
    """Write a picture and say where.

    Raises:
        InternalError: there is no picture: the server left out what it was asked for.
        InvalidInput: the file cannot be written.
    """
    if picture is None:
        raise InternalError(f"the server sent nothing for '{path}'; its log has the reason")
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise InvalidInput(f"cannot write '{path}' ({error.strerror}); name another file") from None
    typer.echo(f"wrote {path}")


class RotationFiles:
    """Where the pictures of one rotation go; each is written as soon as it comes.

    Args:
        output: file of the view; of several views, NAME-0, NAME-1, ...
        folder: for every other picture, and for a sheet of them all; None = they are not wanted.
        output_format: of the pictures that are no masks: "png", "jpeg" or "webp".
        views: how many pictures of the whole there will be.

    Raises:
        InvalidInput: a folder is not there and cannot be made.
    """

    def __init__(self, output: Path, folder: Path | None, *, output_format: str, views: int) -> None:
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"cannot make the folder '{folder}' ({error.strerror}); name another") from None
        refuse_without_folder(output)
        self._output, self._folder, self._format = output, folder, output_format
        self._missing = set(range(views))
        self._several = views > 1
        self._made: dict[str, Picture] = {}

    def take(self, event: Event) -> None:
        """Write the pictures of an event."""
        for path, picture in self._destinations(event):
            if picture is not None:
                write(path, picture)
                self._made[path.stem] = picture
        if event.image is not None:
            self._missing.discard(event.view or 0)

    def finish(self, photo: bytes) -> None:
        """Make sure that every view came; lay them out on one sheet, the photo first.

        Raises:
            InternalError: the stream ended without a view.
        """
        if self._missing:
            raise InternalError(f"the server sent no view {min(self._missing)}; its log has the reason")
        if self._folder is None:
            return
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(photo)))
        # The parts in the order in which a job makes them, the views themselves last.
        parts = [
            name
            for stem in ("mask", "cut_out", "novel_view", "background")
            for name in self._made
            if name.startswith(stem)
        ]
        names = [*parts, *(name for name in self._made if name not in parts)]
        pictures = [("photo", upright), *((re.sub("[_-]", " ", name), self._made[name].pil()) for name in names)]
        write(self._folder / "sheet.png", _encoded(contact_sheet(pictures)))

    def _destinations(self, event: Event) -> Iterator[tuple[Path, Picture | None]]:
        view = event.view or 0
        output = self._output.with_stem(f"{self._output.stem}-{view}") if self._several else self._output
        yield output, event.image
        if self._folder is not None:
            yield self._folder / "mask.png", event.mask
            yield self._folder / "cut_out.png", event.cut_out
            yield self._folder / f"background.{self._format}", event.background
            yield self._folder / f"novel_view-{view}.{self._format}", event.novel_view


def _encoded(image: Image.Image) -> Picture:
    file = io.BytesIO()
    image.save(file, "PNG")
    return Picture(file.getvalue())
