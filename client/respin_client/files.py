"""The files that the `respin` command writes."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import typer
from PIL import Image, ImageOps

from respin.errors import InternalError, InvalidInput
from respin_client.contact_sheet import contact_sheet
from respin_client.results import EncodedImage, RotationEvent

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
"""The format of a picture by its file's suffix."""


def format_of(path: Path, formats: Mapping[str, str], cure: str) -> str:
    """The format that a file's suffix stands for.

    Args:
        path: of a file to write.
        formats: by suffix, in lower case.
        cure: what to do where it stands for none.

    Raises:
        InvalidInput: it stands for none.
    """
    if path.suffix.lower() not in formats:
        raise InvalidInput(f"'{path}' ends in none of {', '.join(formats)}; {cure}")
    return formats[path.suffix.lower()]


def check_writable(*paths: Path) -> None:
    """Refuse files that could not be written, before the work and not after it.

    Raises:
        InvalidInput: a folder stands in a file's place, or its own folder is not there or takes no file.
    """
    for path in paths:
        folder = path.parent
        if path.is_dir():
            raise InvalidInput(f"'{path}' is a folder; name a file")
        if not folder.is_dir():
            raise InvalidInput(f"no folder '{folder}' to write '{path.name}' into; make it first")
        try:
            # Permissions alone do not tell: a disk may be mounted read-only, and root passes every one.
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InvalidInput(f"cannot write into the folder '{folder}' ({error.strerror}); name another") from None


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        InvalidInput: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot make the folder '{folder}' ({error.strerror}); name another") from None


def write(path: Path, picture: EncodedImage | None) -> None:
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

    Attributes:
        made: the pictures that came, by the stems of their files' names.

    Raises:
        InvalidInput: a folder is not there and cannot be made.
    """

    def __init__(self, output: Path, folder: Path | None, *, output_format: str, views: int) -> None:
        if folder is not None:
            make_folder(folder)
        check_writable(output)
        self._output, self._folder, self._format = output, folder, output_format
        self._missing = set(range(views))
        self._several = views > 1
        self.made: dict[str, EncodedImage] = {}

    def take(self, event: RotationEvent) -> None:
        """Write the pictures of an event."""
        for path, picture in self._destinations(event):
            if picture is not None:
                write(path, picture)
                self.made[path.stem] = picture
        if event.image is not None:
            self._missing.discard(event.view or 0)

    def finish(self, photo: bytes) -> None:
        """Make sure that every view came; lay them out on one sheet, the photo first.

        Raises:
            InternalError: the stream ended without a view.
        """
        self.require_views()
        if self._folder is not None:
            write(self._folder / "sheet.png", encode_png(contact_sheet(self.pictures(photo))))

    def require_views(self) -> None:
        """Make sure that every view came.

        Raises:
            InternalError: the stream ended without a view.
        """
        if self._missing:
            raise InternalError(f"the server sent no view {min(self._missing)}; its log has the reason")

    def pictures(self, photo: bytes) -> list[tuple[str, Image.Image]]:
        """Return what came with captions, the photo first, as `contact_sheet` takes it."""
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(photo)))
        # The parts in the order in which a job makes them, the views themselves last.
        parts = [
            name
            for stem in ("mask", "cut_out", "novel_view", "background")
            for name in self.made
            if name.startswith(stem)
        ]
        names = [*parts, *(name for name in self.made if name not in parts)]
        return [("photo", upright), *((re.sub("[_-]", " ", name), self.made[name].pil()) for name in names)]

    def _destinations(self, event: RotationEvent) -> Iterator[tuple[Path, EncodedImage | None]]:
        view = event.view or 0
        output = self._output.with_stem(f"{self._output.stem}-{view}") if self._several else self._output
        yield output, event.image
        if self._folder is not None:
            yield self._folder / "mask.png", event.mask
            yield self._folder / "cut_out.png", event.cut_out
            yield self._folder / f"background.{self._format}", event.background
            yield self._folder / f"novel_view-{view}.{self._format}", event.novel_view


def encode_png(image: Image.Image) -> EncodedImage:
    """A picture as a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return EncodedImage(file.getvalue())
