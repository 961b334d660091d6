"""The files that `respin spin` writes: frames as they arrive, then the animation and a sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from respin.errors import InvalidInput
from respin_client.contact_sheet import contact_sheet
from respin_client.files import check_folder, check_writable, encode_png, write
from respin_client.results import EncodedImage, RotationEvent
from respin_client.turntable import degrees


class Frames:
    """The frames of a spin; each is written as soon as it arrives, in any order.

    Args:
        folder: folder of the single frames, NN-azimuth+D.png, created with the first; None = NAME-frames beside the
            animation.
        output: file of the animation; the sheet is NAME-sheet.png beside it.
        azimuths: azimuth of each view, degrees.
        shown: picture of a view to keep: "image" or "novel_view".

    Attributes:
        came: the views that arrived, by their number.

    Raises:
        InvalidInput: a file could not be written, or the folder holds frames of another spin.
    """

    def __init__(self, folder: Path | None, output: Path, azimuths: Sequence[float], shown: str) -> None:
        self._folder = folder or output.with_name(f"{output.stem}-frames")
        self._output, self._sheet = output, output.with_name(f"{output.stem}-sheet.png")
        self._azimuths, self.shown = azimuths, shown
        self._paths = [self._folder / f"{view:02}-azimuth{degrees(each)}.png" for view, each in enumerate(azimuths)]
        self.came: dict[int, EncodedImage] = {}
        check_writable(self._output, self._sheet)
        check_folder(self._folder)
        if self._folder.is_dir():
            check_writable(*self._paths)
        if others := sorted(set(self._folder.glob("[0-9][0-9]-azimuth*.png")) - set(self._paths)):
            raise InvalidInput(
                f"'{others[0]}' is of another spin; clear that folder, or name another one with --frames"
            )

    @property
    def count(self) -> str:
        """Sentence with the number of views that arrived, and their folder."""
        where = f", kept in '{self._folder}'" if self.came else ""
        return f"{len(self.came)} of {len(self._paths)} views came{where}"

    @property
    def missing(self) -> list[str]:
        """Azimuths of the views that did not arrive."""
        return [degrees(each) for view, each in enumerate(self._azimuths) if view not in self.came]

    def take(self, event: RotationEvent) -> None:
        """Write the view of an event, if it has one."""
        picture: EncodedImage | None = getattr(event, self.shown)
        if picture is not None:
            view = event.view or 0
            write(self._paths[view], picture)
            self.came[view] = picture

    def pictures(self) -> list[Image.Image]:
        """Return the views in the order of their azimuths, RGB."""
        return [self.came[view].pil().convert("RGB") for view in sorted(self.came)]

    def finish(self, animation: EncodedImage, pictures: Sequence[Image.Image]) -> None:
        """Write the animation, and a sheet of all views with their azimuths.

        Args:
            animation: the encoded animation.
            pictures: the views, as `pictures` returns them.
        """
        write(self._output, animation)
        captions = [f"azimuth {degrees(each)}" for each in self._azimuths]
        columns = math.ceil(math.sqrt(len(pictures)))
        sheet = contact_sheet(list(zip(captions, pictures, strict=True)), columns=columns)
        write(self._sheet, encode_png(sheet))
