"""`respin scene`: a scene and its ground truth as files, without a server."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from respin.scenes import HELD_OUT_SEEDS, render_scene
from respin_client.contact_sheet import CAPTION_PX, GAP_PX
from respin_client.scene import SHEET_TILE_PX, VIEW_PX

TWO_OBJECTS = 1_000_005
"""The seed of a held-out scene that shows two objects."""

PICTURES = ("photo", "mask", "background", "truth", "truth_mask", "view-before", "view-after")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_scene_is_saved_with_its_truth(here, respin):
    code, printed, complained = respin("scene", "--seed", str(TWO_OBJECTS), "--save", "deep/scene")
    assert (code, complained) == (0, "")
    files = [*(f"{name}.png" for name in PICTURES), "scene.json"]
    assert printed.splitlines() == [f"wrote deep/scene/{name}" for name in files]
    folder, scene = here / "deep/scene", render_scene(TWO_OBJECTS)
    views = scene.views(side=VIEW_PX, object_share=0.75)
    wanted = (
        *(scene.photo, scene.target.mask * 255, scene.background, scene.turned, scene.turned_mask * 255),
        *(views.before, views.after),
    )
    for name, array in zip(PICTURES, wanted, strict=True):
        np.testing.assert_array_equal(pixels(folder / f"{name}.png"), array)
    first, second = scene.objects
    assert json.loads((folder / "scene.json").read_text()) == {
        "seed": TWO_OBJECTS,
        "kind": first.kind,
        "box": first.box.to_array().tolist(),
        "azimuth": scene.azimuth,
        "others": [{"kind": second.kind, "box": second.box.to_array().tolist()}],
    }


def test_a_sheet_has_a_row_for_each_scene(here, respin):
    code, printed, _ = respin("scene", "--sheet", "sheet.png", "--count", "2")
    assert (code, printed) == (0, "wrote sheet.png\n")
    sheet = np.asarray(Image.open(here / "sheet.png").convert("RGB")).astype(int)
    across, down = SHEET_TILE_PX + GAP_PX, SHEET_TILE_PX + CAPTION_PX + GAP_PX
    assert sheet.shape == (2 * down + GAP_PX, 5 * across + GAP_PX, 3)
    for row, seed in enumerate(HELD_OUT_SEEDS[:2]):
        scene = render_scene(seed)
        tile = np.asarray(Image.fromarray(scene.photo).resize((SHEET_TILE_PX, SHEET_TILE_PX * 3 // 4)))
        top = row * down + GAP_PX + CAPTION_PX + SHEET_TILE_PX // 8
        shown = sheet[top : top + len(tile), GAP_PX : GAP_PX + SHEET_TILE_PX]
        assert np.abs(shown - tile).mean() < 12  # a palette, and another filter


def test_the_default_is_the_first_held_out_scene(here, respin):
    assert respin("scene", "--save", "scene")[0] == 0
    np.testing.assert_array_equal(pixels(here / "scene/photo.png"), render_scene(HELD_OUT_SEEDS[0]).photo)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ((), "nothing to write; give --save FOLDER, --sheet FILE, or both"),
        (("--save", "laptop.jpg"), "cannot make the folder 'laptop.jpg'"),
        (("--save", "scene", "--seed", "-1"), "seed is -1 for 1 scenes; stay within 0 to 999999 (training)"),
        (("--save", "scene", "--seed", "2000000"), "seed is 2000000 for 1 scenes"),
        (("--sheet", "sheet.png", "--seed", "999999", "--count", "2"), "seed is 999999 for 2 scenes"),
        (("--sheet", "sheet.png", "--count", "0"), "count is 0; send 1 to 64"),
        (("--sheet", "sheet.png", "--count", "65"), "count is 65; send 1 to 64"),
        (("--sheet", "sheet.jpg"), "'sheet.jpg' ends in none of .png; name a .png file"),
        (("--sheet", "none/sheet.png"), "no folder 'none' to write 'sheet.png' into"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(here, respin, flags, sentence):
    code, printed, complained = respin("scene", *flags)
    assert (code, printed) == (2, "")
    assert complained.startswith(f"respin: {sentence}")
    assert complained.count("\n") == 1
    assert [path.name for path in here.iterdir()] == ["laptop.jpg"]
