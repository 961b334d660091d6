"""`respin demo`: the whole job on a rendered scene, beside the ground truth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from respin.errors import InvalidInput
from respin.request import OPTIONS, RotationRequest
from respin.scenes import Scene, render_scene
from respin_client.contact_sheet import contact_sheet
from respin_client.figures import VIEW_PX, figures, mini_object_share
from respin_client.files import RotationFiles, check_writable, encode_png, format_of, make_folder, write
from respin_client.flags import CONNECTION_FLAGS, request_flags, request_from_flags, with_flags
from respin_client.follow import Quiet, follow, print_box
from respin_client.frames import Frames
from respin_client.png import image_from_photo
from respin_client.results import RotationEvent
from respin_client.scene import require_seeds
from respin_client.spin import WEBP_QUALITY, follow_views
from respin_client.turntable import arc, back_and_forth, webp

DEMO_SEED = 1_000_099
"""The scene of the demo: one object, held out from training; one of the better results (docs/quality.md has others)."""

PHOTO_AZIMUTH = 40.0
"""Degrees by which the object of a given photo is turned; a rendered scene has its own turn."""

SPIN_DEGREES, SPIN_VIEWS, SPIN_FRAME_MS = 90.0, 12, 120
"""Largest azimuth of the spin, degrees: the mini set is not trained on larger camera moves."""

SPIN_STEPS = 20
"""Denoising steps of each view of the spin unless --steps is given; the single view takes the default."""

PARTS = ("mask", "cut_out", "novel_view", "background", "image")

_OWN = ("image", "class_name", "azimuth", "polar", "output_format")
"""Fields of a request that the demo fills in itself."""

EXAMPLES = """\b
Examples:
  respin serve -- respin demo                                  a rendered scene, with figures against the truth
  respin demo --image laptop.jpg --class-name laptop           a photo; needs the published weights
"""


@with_flags(request_flags([name for name in OPTIONS if name not in _OWN]), CONNECTION_FLAGS)
def demo(
    *,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A photo; default a rendered scene, whose truth is known")
    ] = None,
    class_name: Annotated[str | None, typer.Option(metavar="TEXT", help="Name of the photo's object")] = None,
    scene: Annotated[
        int, typer.Option(metavar="INTEGER", help="Seed of the rendered scene (see respin scene)")
    ] = DEMO_SEED,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of all pictures")] = Path("demo-output"),
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sheet of all pictures, a PNG; default sheet.png in the folder")
    ] = None,
    quiet: Quiet = False,
    **flags: Any,
) -> None:
    """Find an object by its name, turn it, and show each step beside the truth.

    Writes the parts of the job, a sheet of them all, and a spin of twelve views.
    """
    if (image is None) != (class_name is None):
        raise InvalidInput("a photo needs a name; give --image and --class-name together, or neither")
    sheet = sheet or output / "sheet.png"
    format_of(sheet, {".png": "png"}, "name a .png file")
    make_folder(output)
    check_writable(sheet)
    truth = None
    asked: dict[str, Any] = {"image": image, "class_name": class_name, "azimuth": PHOTO_AZIMUTH}
    if image is None:
        truth = render_scene(require_seeds(scene, 1)[0])
        asked = {"image": Image.fromarray(truth.photo), "class_name": truth.target.kind, "azimuth": truth.azimuth}
    request = request_from_flags({**flags, **asked})
    write(output / "photo.png", encode_png(image_from_photo(request.image)))
    for name, picture in _true_pictures(truth):
        write(output / f"{name}.png", encode_png(picture))
    notes = _turn(request, truth, output, sheet, quiet=quiet, flags=flags)
    _spin(request, output / "spin.webp", notes, quiet=quiet, flags=flags)


def _turn(
    request: RotationRequest, truth: Scene | None, output: Path, sheet: Path, *, quiet: bool, flags: Mapping[str, Any]
) -> tuple[str, ...]:
    """Turn the object once, write every part and the sheet, print the figures; return the job's notes."""
    files = RotationFiles(output / "generated.png", output, output_format="png", views=1)

    def take(event: RotationEvent) -> None:
        print_box(request, event)
        files.take(event)

    notes = follow(request, (*PARTS, "box", "score"), take, quiet=quiet, flags=flags)
    files.require_views()
    pictures = files.pictures(request.image)
    pictures += [(name.replace("_", " "), picture) for name, picture in _true_pictures(truth)]
    write(sheet, encode_png(contact_sheet(pictures, columns=math.ceil(len(pictures) / 2))))
    for line in [] if truth is None else figures(truth, files.made):
        typer.echo(line)
    return notes


def _true_pictures(truth: Scene | None) -> list[tuple[str, Image.Image]]:
    """Return the photo with the object turned, and the turned object on white, by the stems of their files."""
    if truth is None:
        return []
    view = truth.views(side=VIEW_PX, object_share=mini_object_share()).after
    return [("truth", Image.fromarray(truth.turned)), ("true_view", Image.fromarray(view))]


def _spin(
    request: RotationRequest, output: Path, known_notes: tuple[str, ...], *, quiet: bool, flags: Mapping[str, Any]
) -> None:
    """Swing the camera round the object: an animation, and a sheet of its views."""
    azimuths = arc(-SPIN_DEGREES, SPIN_DEGREES, SPIN_VIEWS)
    files = Frames(None, output, azimuths, "image")
    steps = request.steps if flags["steps"] else SPIN_STEPS
    views = follow_views(
        replace(request, azimuth=azimuths, steps=steps), files, quiet=quiet, flags=flags, known_notes=known_notes
    )
    files.finish(webp(back_and_forth(views), SPIN_FRAME_MS, WEBP_QUALITY), views)
