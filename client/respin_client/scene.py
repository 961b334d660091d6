"""`respin scene`: a rendered scene and its ground truth as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from respin.errors import InvalidInput
from respin.model_set import Sizes
from respin.scenes import HELD_OUT_SEEDS, TRAINING_SEEDS, Scene, SceneObject, ViewPair, render_scene
from respin_client.contact_sheet import contact_sheet
from respin_client.files import check_writable, encode_png, format_of, make_folder, write
from respin_client.turntable import degrees

VIEW_PX = 256
"""Side of the object's views on white, px."""

MOST_ON_A_SHEET = 64

SHEET_TILE_PX = 224

SHEET_COLOURS = 256
"""Colours of the sheet's palette: the grain of the walls makes a true-colour PNG four times larger."""

EXAMPLES = """\b
Examples:
  respin scene --save scene                                    photo, mask, background, the photo with the object turned
  respin scene --seed 1000007 --save scene --sheet sheet.png --count 6
"""


def _range(seeds: range) -> str:
    return f"{seeds[0]} to {seeds[-1]}"


def scene(
    *,
    seed: Annotated[
        int,
        typer.Option(
            metavar="INTEGER",
            help=f"{_range(TRAINING_SEEDS)} for a scene that networks may be trained on, "
            f"{_range(HELD_OUT_SEEDS)} for a held-out one",
        ),
    ] = HELD_OUT_SEEDS[0],
    save: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the scene's pictures and scene.json here")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a contact sheet here, a PNG: this scene and those after it"),
    ] = None,
    count: Annotated[
        int, typer.Option(metavar="INTEGER", help=f"Number of scenes on the sheet (1 to {MOST_ON_A_SHEET})")
    ] = 8,
) -> None:
    """Render furniture in a room, and the same room with the object turned.

    No server is needed. The same seed gives the same pixels.
    """
    seeds = require_seeds(seed, count if sheet is not None else 1)
    if save is None and sheet is None:
        raise InvalidInput("nothing to write; give --save FOLDER, --sheet FILE, or both")
    if sheet is not None:
        format_of(sheet, {".png": "png"}, "name a .png file")
        check_writable(sheet)
    if save is not None:
        make_folder(save)
        write_scene(render_scene(seed), save)
    if sheet is not None:
        write(sheet, encode_png(sheet_of_scenes(seeds)))


def write_scene(scene: Scene, folder: Path) -> None:
    """Write a scene's pictures, and its facts as scene.json.

    Args:
        scene: the scene.
        folder: an existing folder.

    Raises:
        InvalidInput: a file cannot be written.
    """
    views = _views(scene)
    pictures = {
        "photo": scene.photo,
        "mask": _visible(scene.target.mask),
        "background": scene.background,
        "truth": scene.turned,
        "truth_mask": _visible(scene.turned_mask),
        "view-before": views.before,
        "view-after": views.after,
    }
    paths = {name: folder / f"{name}.png" for name in pictures}
    record = folder / "scene.json"
    check_writable(*paths.values(), record)
    for name, pixels in pictures.items():
        write(paths[name], encode_png(Image.fromarray(pixels)))
    record.write_text(json.dumps(_facts(scene), indent=1) + "\n")
    typer.echo(f"wrote {record}")


def sheet_of_scenes(seeds: range) -> Image.Image:
    """Lay out scenes, one a row: photo, background, mask, the photo with the object turned, and its views on white."""
    tiles = []
    for each in map(render_scene, seeds):
        views = _views(each)
        tiles += [
            (f"{each.seed}: {each.target.kind}", each.photo),
            ("background", each.background),
            ("mask", _visible(each.target.mask)),
            (f"azimuth {degrees(round(each.azimuth))}", each.turned),
            ("views on white", np.concatenate([views.before, views.after], axis=1)),
        ]
    pictures = [(caption, Image.fromarray(pixels)) for caption, pixels in tiles]
    sheet = contact_sheet(pictures, columns=len(tiles) // len(seeds), tile_px=SHEET_TILE_PX)
    return sheet.quantize(SHEET_COLOURS, kmeans=4, dither=Image.Dither.NONE)


def _facts(scene: Scene) -> dict[str, Any]:
    first, *others = map(_object, scene.objects)
    return {"seed": scene.seed, **first, "azimuth": scene.azimuth, "others": others}


def _object(shown: SceneObject) -> dict[str, Any]:
    return {"kind": shown.kind, "box": shown.box.to_array().tolist()}


def _views(scene: Scene) -> ViewPair:
    return scene.views(side=VIEW_PX, object_share=Sizes().object_share)


def _visible(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a mask as 8-bit grey."""
    return mask.astype(np.uint8) * np.uint8(255)


def require_seeds(first: int, count: int) -> range:
    """Return the seeds of consecutive scenes, all for training or all held out.

    Raises:
        InvalidInput: there are too few, too many, or no scenes of these seeds.
    """
    if not 1 <= count <= MOST_ON_A_SHEET:
        raise InvalidInput(f"count is {count}; send 1 to {MOST_ON_A_SHEET}")
    seeds = range(first, first + count)
    if not any(seeds[0] in known and seeds[-1] in known for known in (TRAINING_SEEDS, HELD_OUT_SEEDS)):
        raise InvalidInput(
            f"seed is {first} for {count} scenes; stay within {_range(TRAINING_SEEDS)} (training) or "
            f"{_range(HELD_OUT_SEEDS)} (held out)"
        )
    return seeds
