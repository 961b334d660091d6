"""The `respin` command: flags, files, words and exit codes."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image, ImageColor
from PIL.PngImagePlugin import PngInfo
from scripted_triton import COMPOSED, PHOTO, TURNED, event, picture, texts, views

from respin.contracts import ROTATE_OBJECT
from respin.request import DEFAULTS, OPTIONS, RotationRequest
from respin_client.contact_sheet import CAPTION_PX, COLUMNS, GAP_PX, TILE_PX
from respin_client.files import SUFFIXES
from respin_client.options_table import requests_page

ROOT = Path(__file__).parents[2]


def test_the_flags_of_the_script_that_it_replaces_work(here, triton, respin):
    triton.events = views(1)
    angles = ("--azimuth", "+80", "--polar", "+0")
    code, printed, complained = respin("rotate", *PHOTO, *angles, "--output", "generated.png", "--url", triton.url)
    assert (code, complained) == (0, "")
    assert printed.splitlines() == ["wrote generated.png", "note: view 0 was found by its colour"]
    assert (here / "generated.png").read_bytes() == picture("red")
    sent = RotationRequest.from_arrays(triton.heard[0].arrays)
    assert sent == RotationRequest(picture("white"), "laptop", (80.0,), (0.0,))


def test_several_angles_make_several_files(here, triton, respin):
    triton.events = views(2)
    code, *_ = respin("rotate", *PHOTO, "--azimuth", "-40", "--azimuth", "40", "--polar", "-5", "--url", triton.url)
    assert code == 0
    assert [(here / f"generated-{view}.png").read_bytes() for view in (0, 1)] == [
        picture(colour) for colour in COMPOSED
    ]
    assert triton.heard[0].arrays["azimuth"].tolist() == [-40, 40]
    assert triton.heard[0].arrays["polar"].tolist() == [-5, -5]


def test_without_angles_the_object_is_cut_out_onto_white(here, triton, respin):
    triton.events = lambda arrays, context: [event("segmentation", image=texts(picture("pink"))), event("done")]
    code, *_ = respin("rotate", *PHOTO, "--save", "parts", "--url", triton.url)
    assert code == 0
    assert (here / "generated.png").read_bytes() == picture("pink")
    assert "azimuth" not in triton.heard[0].arrays
    assert not {"novel_view", "background"} & set(triton.heard[0].outputs)


def test_the_parts_are_saved_too(here, triton, respin):
    triton.events = views(2)
    code, *_ = respin("rotate", *PHOTO, "--azimuth=1", "--azimuth=2", "--save", "deep/parts", "--url", triton.url)
    assert code == 0
    saved = {path.name: path.read_bytes() for path in (here / "deep/parts").iterdir()}
    assert saved.pop("sheet.png")
    assert saved == {
        "mask.png": picture("black"),
        "cut_out.png": picture("gray"),
        "background.png": picture("brown"),
        "novel_view-0.png": picture("orange"),
        "novel_view-1.png": picture("blue"),
    }


def test_a_sheet_shows_the_photo_the_parts_and_the_views_in_that_order(here, triton, respin):
    triton.events = views(2)
    respin("rotate", *PHOTO, "--azimuth=1", "--azimuth=2", "--save", "parts", "--url", triton.url)
    sheet = Image.open(here / "parts/sheet.png")
    across, down = TILE_PX + GAP_PX, TILE_PX + CAPTION_PX + GAP_PX
    middles = [
        (GAP_PX + column * across + TILE_PX // 2, GAP_PX + row * down + CAPTION_PX + TILE_PX // 2)
        for row in range(3)
        for column in range(COLUMNS)
    ]
    wanted = ["white", "black", "gray", *TURNED, "brown", *COMPOSED]
    assert [sheet.getpixel(at) for at in middles[:8]] == [ImageColor.getrgb(colour) for colour in wanted]


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (("--output", "turned.JPG"), "jpeg"),
        (("--output", "turned.webp"), "webp"),
        (("--output", "turned.data", "--output-format", "webp"), "webp"),
        (("--output-format", "jpeg"), "jpeg"),
        ((), "png"),
    ],
)
def test_the_suffix_chooses_the_format_unless_a_flag_does(here, triton, respin, flags, wanted):
    triton.events = views(1)
    code, *_ = respin("rotate", *PHOTO, "--azimuth", "80", *flags, "--url", triton.url)
    assert code == 0
    assert triton.heard[0].arrays["output_format"].tolist() == [wanted.encode()]
    assert flags[:1] == ("--output",) or (here / "generated").with_suffix(SUFFIXES[wanted]).is_file()


def test_every_option_of_a_request_reaches_the_server(here, triton, respin):
    triton.events = views(1)
    other = {"text": "a word", "integer": 77, "number": 1.0, "angles": 5.0, "box": (1.0, 2.0, 3.0, 4.0)}
    wanted = {
        name: option.choices[-1] if option.kind == "choice" else other[option.kind]
        for name, option in OPTIONS.items()
        if option.kind != "image"
    }
    flags = [
        word
        for name, value in wanted.items()
        for word in (f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,)))
    ]
    code, _, complained = respin("rotate", "--image", "laptop.jpg", *flags, "--url", triton.url)
    assert (code, complained) == (0, "")
    sent = RotationRequest.from_arrays(triton.heard[0].arrays)
    for name, value in wanted.items():
        assert getattr(sent, name) == ((value,) if OPTIONS[name].kind == "angles" else value), name


def test_help_knows_every_option_with_its_range_and_default(monkeypatch, respin):
    monkeypatch.setenv("COLUMNS", "240")
    code, printed, _ = respin("rotate", "--help")
    assert code == 0
    printed = " ".join(printed.split())
    for name, option in OPTIONS.items():
        assert f"--{name.replace('_', '-')} " in printed
        assert option.meaning[1:] in printed
        assert option.range_text in printed
        if DEFAULTS[name] and not option.required:
            assert f"default {DEFAULTS[name]}" in printed
    assert "--azimuth +80" in printed


def test_the_version_is_the_packages(respin):
    assert respin("--version") == (0, f"respin {version('respin')}\n", "")


def test_the_module_is_the_command():
    answer = subprocess.run(
        [sys.executable, "-m", "respin_client", "--version"], capture_output=True, text=True, check=True
    )
    assert answer.stdout == f"respin {version('respin')}\n"


def test_the_page_of_requests_is_up_to_date():
    assert (ROOT / "docs/requests.md").read_text() == requests_page(), "run `python -m respin_client.options_table`"


def test_the_page_of_requests_has_a_row_for_each_input():
    rows = [line.split("`")[1] for line in requests_page().splitlines() if line.startswith("| `")]
    assert rows == [tensor.name for tensor in ROTATE_OBJECT.inputs]


def test_broken_metadata_of_the_photo_does_not_end_the_command_after_the_work(here, triton, respin):
    triton.events = views(1)
    photo = here / "odd.png"
    text = PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n 4\nzzzz\n", zip=True)
    Image.new("RGB", (8, 6), "white").save(photo, pnginfo=text)
    arguments = ("--image", "odd.png", "--class-name", "laptop", "--azimuth", "80", "--save", "parts")
    code, printed, complained = respin("rotate", *arguments, "--url", triton.url)
    assert (code, complained) == (0, "")
    assert "wrote parts/sheet.png" in printed
