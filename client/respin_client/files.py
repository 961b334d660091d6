"""The files that the `respin` command writes."""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

import typer
from PIL import Image

from respin.errors import InternalError, InvalidInput
from respin_client.contact_sheet import contact_sheet
from respin_client.png import image_from_photo
from respin_client.results import EncodedImage, RotationEvent

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
"""Format of a picture for each suffix of a file."""

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
"""Suffix of the files that are named here, for each format of a picture."""

STANDARD_STREAM = Path("-")
"""Name of standard output as a file to write, and of standard input as a photo."""


def format_of(path: Path, formats: Mapping[str, str], cure: str) -> str:
    """Return the format for a file's suffix.

    Args:
        path: file to write.
        formats: format for each suffix, in lower case.
        cure: advice for a suffix without a format.

    Raises:
        InvalidInput: the suffix has no format.
    """
    if path.suffix.lower() not in formats:
        raise InvalidInput(f"'{path}' ends in none of {', '.join(formats)}; {cure}")
    return formats[path.suffix.lower()]


def picture_format(path: Path, asked: str | None) -> str:
    """Return the format of a picture: `asked`, or that of the file's suffix; PNG for standard output.

    Raises:
        InvalidInput: suffix and `asked` differ, or neither is there.
    """
    if path == STANDARD_STREAM:
        return asked or "png"
    if asked is None:
        return format_of(path, FORMATS, "name another file, or give --output-format")
    suffix = FORMATS.get(path.suffix.lower(), asked)
    if suffix != asked and asked in FORMATS.values():
        raise InvalidInput(f"'{path}' is the name of a {suffix} file and --output-format is {asked}; leave one out")
    return asked


@contextmanager
def keep_standard_output_for(*outputs: Path) -> Iterator[None]:
    """Print to standard error in the `with` body if one of the outputs is standard output."""
    if STANDARD_STREAM not in outputs:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def check_writable(*paths: Path) -> None:
    """Check that files can be written, before the work begins.

    Raises:
        InvalidInput: a path is a folder, its folder is missing or not writable, or it is standard output and that is a
            terminal.
    """
    for path in paths:
        if path == STANDARD_STREAM:
            if sys.__stdout__ is not None and sys.__stdout__.isatty():
                raise InvalidInput("standard output is a terminal; send it to a file or a program, or name a file")
            continue
        folder = path.parent
        if path.is_dir():
            raise InvalidInput(f"'{path}' is a folder; name a file")
        if not folder.is_dir():
            raise InvalidInput(f"no folder '{folder}' to write '{path.name}' into; make it first")
        _check_folder_writable(folder)


def check_folder(folder: Path) -> None:
    """Check that files can be written into a folder, which is created with the first one, before the work begins.

    Raises:
        InvalidInput: it cannot be created, or not be written into.
    """
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir():
        raise InvalidInput(f"cannot make the folder '{folder}' ('{there}' is a file); name another")
    _check_folder_writable(there)


def _check_folder_writable(folder: Path) -> None:
    try:
        # Permissions are not enough: a disk may be mounted read-only, and root ignores permissions.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InvalidInput(f"cannot write into the folder '{folder}' ({error.strerror}); name another") from None


def make_folder(folder: Path) -> None:
    """Create a folder, and those above it, unless it exists.

    Raises:
        InvalidInput: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot make the folder '{folder}' ({error.strerror}); name another") from None


def write(path: Path, picture: EncodedImage | None) -> None:
    """Write a picture, with the folder above it, and print its path.

    Raises:
        InternalError: there is no picture: the server left out an output of the request.
        InvalidInput: the file cannot be written.
    """
    if picture is None:
        raise InternalError(f"the server sent nothing for '{path}'; its log has the reason")
    try:
        if path == STANDARD_STREAM and sys.__stdout__ is not None:
            sys.__stdout__.buffer.write(picture)
            sys.__stdout__.flush()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    except OSError as error:
        named = "to standard output" if path == STANDARD_STREAM else f"'{path}'"
        raise InvalidInput(f"cannot write {named} ({error.strerror}); name another file") from None
    typer.echo(f"wrote {path}")


class RotationFiles:
    """The files of one rotation; each picture is written as soon as it arrives.

    Args:
        output: file of the view, or standard output; for several views NAME-0, NAME-1, ...
        folder: folder for all other pictures and a sheet of them, created with the first; None = they are not written.
        output_format: format of the pictures except masks: "png", "jpeg" or "webp".
        views: number of views.

    Attributes:
        made: the pictures that arrived, by the stems of their files' names.

    Raises:
        InvalidInput: a folder cannot be created or written into, or several views would go to standard output.
    """

    def __init__(self, output: Path, folder: Path | None, *, output_format: str, views: int) -> None:
        if output == STANDARD_STREAM and views > 1:
            raise InvalidInput(f"{views} views do not go into one standard output; name a file with --output")
        if folder is not None:
            check_folder(folder)
        check_writable(output)
        self._output, self._folder, self._suffix = output, folder, SUFFIXES[output_format]
        self._missing = set(range(views))
        self._several = views > 1
        self.made: dict[str, EncodedImage] = {}

    def take(self, event: RotationEvent) -> None:
        """Write the pictures of an event."""
        for path, picture in self._destinations(event):
            if picture is not None:
                write(path, picture)
                self.made["image" if path == STANDARD_STREAM else path.stem] = picture
        if event.image is not None:
            self._missing.discard(event.view or 0)

    def finish(self, photo: bytes) -> None:
        """Check that every view arrived, and lay the pictures out on one sheet, the photo first.

        Raises:
            InternalError: the stream ended without a view.
        """
        self.require_views()
        if self._folder is not None:
            write(self._folder / "sheet.png", encode_png(contact_sheet(self.pictures(photo))))

    def require_views(self) -> None:
        """Check that every view arrived.

        Raises:
            InternalError: the stream ended without a view.
        """
        if self._missing:
            raise InternalError(f"the server sent no view {min(self._missing)}; its log has the reason")

    def pictures(self, photo: bytes) -> list[tuple[str, Image.Image]]:
        """Return the captioned pictures for `contact_sheet`, the photo first."""
        captioned = []
        # Everything is done and written: a photo that only the server can read is no reason to end here.
        with suppress(InvalidInput):
            captioned.append(("photo", image_from_photo(photo)))
        # The parts in the order in which a job makes them, the views themselves last.
        parts = [
            name
            for stem in ("mask", "cut_out", "novel_view", "background")
            for name in self.made
            if name.startswith(stem)
        ]
        names = [*parts, *(name for name in self.made if name not in parts)]
        return captioned + [(re.sub("[_-]", " ", name), self.made[name].pil()) for name in names]

    def _destinations(self, event: RotationEvent) -> Iterator[tuple[Path, EncodedImage | None]]:
        view = event.view or 0
        output = self._output.with_stem(f"{self._output.stem}-{view}") if self._several else self._output
        yield output, event.image
        if self._folder is not None:
            yield self._folder / "mask.png", event.mask
            yield self._folder / "cut_out.png", event.cut_out
            yield self._folder / f"background{self._suffix}", event.background
            yield self._folder / f"novel_view-{view}{self._suffix}", event.novel_view


def encode_png(image: Image.Image) -> EncodedImage:
    """Encode a picture as PNG."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return EncodedImage(file.getvalue())
