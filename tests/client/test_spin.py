"""`respin spin`: one request, frames as they come, an animation and a sheet."""

from __future__ import annotations

import threading

import grpc
import numpy as np
import pytest
from PIL import Image, ImageColor, ImageSequence
from scripted_triton import PHOTO, WAIT_S, event, picture, refusal, texts

from respin.request import OPTIONS, RotationRequest
from respin_client.contact_sheet import CAPTION_PX, GAP_PX, TILE_PX

COLOURS = ("red", "green", "blue", "orange", "purple", "black", "yellow", "gray")
NAMES = [f"{view:02}-azimuth+{45 * view}.png" for view in range(8)]
SPIN = ("spin", *PHOTO, "--views", "8")


def view(number: int, **outputs):
    """What the engine sends of a view that is done."""
    return event(view=number, image=texts(picture(COLOURS[number])), **outputs)


def turned(*numbers: int):
    """An engine's answer: these views, in this order."""
    return lambda arrays, context: [
        event("segmentation"),
        *map(view, numbers),
        event("done", notes=texts("view 1 was found by its colour")),
    ]


def colours(path) -> list[tuple[int, ...]]:
    """Of the middle of each frame."""
    with Image.open(path) as animation:
        return [frame.convert("RGB").getpixel((4, 2)) for frame in ImageSequence.Iterator(animation)]


@pytest.mark.parametrize("output", ["spin.webp", "Spin.GIF"])
def test_a_spin_is_one_request_and_an_animation_of_its_views(here, triton, respin, output):
    triton.events = turned(*range(8))
    code, printed, complained = respin(*SPIN, "--output", output, "--frame-ms", "120", "--url", triton.url)
    assert (code, complained) == (0, "")
    stem = output.partition(".")[0]
    written = [*(f"{stem}-frames/{name}" for name in NAMES), output, f"{stem}-sheet.png"]
    note = "note: view 1 was found by its colour"
    assert [line for line in printed.splitlines() if line != note] == [f"wrote {path}" for path in written]
    assert note in printed
    with Image.open(here / output) as animation:
        assert (animation.n_frames, animation.info["loop"]) == (8, 0)
        assert sum(frame.copy().info["duration"] for frame in ImageSequence.Iterator(animation)) == 8 * 120
    for got, wanted in zip(colours(here / output), COLOURS, strict=True):
        assert np.abs(np.subtract(got, ImageColor.getrgb(wanted))).max() < 16
    assert [call.model for call in triton.heard] == ["rotate_object_stream"]
    sent = RotationRequest.from_arrays(triton.heard[0].arrays)
    assert sent == RotationRequest(picture("white"), "laptop", tuple(45.0 * view for view in range(8)), (0.0,))
    assert not {"novel_view", "background", "mask"} & set(triton.heard[0].outputs)


def test_views_that_come_in_another_order_are_put_in_their_own(here, triton, respin):
    triton.events = turned(5, 0, 7, 3, 1, 2, 6, 4)
    code, *_ = respin(*SPIN, "--output", "spin.gif", "--url", triton.url)
    assert code == 0
    assert colours(here / "spin.gif") == [ImageColor.getrgb(colour) for colour in COLOURS]
    for number, name in enumerate(NAMES):
        assert (here / "spin-frames" / name).read_bytes() == picture(COLOURS[number])
    sheet = Image.open(here / "spin-sheet.png")
    middles = [
        (
            GAP_PX + column * (TILE_PX + GAP_PX) + TILE_PX // 2,
            GAP_PX + row * (TILE_PX + CAPTION_PX + GAP_PX) + CAPTION_PX + TILE_PX // 2,
        )
        for row in range(3)
        for column in range(3)
    ]
    assert [sheet.getpixel(at) for at in middles[:8]] == [ImageColor.getrgb(colour) for colour in COLOURS]


def test_a_view_is_on_the_disk_before_the_next_is_made(here, triton, respin):
    seen = []

    def events(arrays, context):
        yield view(0)
        poll = threading.Event()
        for _ in range(round(WAIT_S / 0.01)):
            if (here / "spin-frames" / NAMES[0]).exists():
                seen.append(NAMES[0])
                break
            poll.wait(0.01)
        yield from map(view, range(1, 8))

    triton.events = events
    assert respin(*SPIN, "--url", triton.url)[0] == 0
    assert seen == [NAMES[0]]


def test_the_object_alone_may_be_spun(here, triton, respin):
    triton.events = lambda arrays, context: [
        event(view=number, novel_view=texts(picture(COLOURS[number]))) for number in range(8)
    ]
    code, *_ = respin(*SPIN, "--object-only", "--output", "spin.gif", "--url", triton.url)
    assert code == 0
    assert "novel_view" in triton.heard[0].outputs
    assert "image" not in triton.heard[0].outputs
    assert colours(here / "spin.gif") == [ImageColor.getrgb(colour) for colour in COLOURS]


def test_an_arc_is_swung_through_there_and_back(here, triton, respin):
    triton.events = turned(0, 1, 2)
    swing = ("--views", "3", "--from", "-60", "--to", "60", "--polar", "-20", "--frames", "deep/single")
    code, *_ = respin("spin", *PHOTO, *swing, "--output", "swing.gif", "--url", triton.url)
    assert code == 0
    assert triton.heard[0].arrays["azimuth"].tolist() == [-60, 0, 60]
    assert triton.heard[0].arrays["polar"].tolist() == [-20, -20, -20]
    assert colours(here / "swing.gif") == [ImageColor.getrgb(COLOURS[index]) for index in (0, 1, 2, 1)]
    assert sorted(path.name for path in (here / "deep/single").iterdir()) == [
        "00-azimuth-60.png",
        "01-azimuth+0.png",
        "02-azimuth+60.png",
    ]


def test_what_a_rotation_may_be_told_a_spin_may_be_told(monkeypatch, respin):
    monkeypatch.setenv("COLUMNS", "240")
    words = respin("spin", "--help")[1].split()
    for name in OPTIONS:
        is_flag = f"--{name.replace('_', '-')}" in words
        assert is_flag == (name not in ("azimuth", "output_format")), name
    assert "--views" in words


def test_the_options_of_a_request_reach_the_server(here, triton, respin):
    triton.events = turned(*range(8))
    code, *_ = respin(*SPIN, "--seed", "7", "--steps", "20", "--fit", "box", "--url", triton.url)
    assert code == 0
    sent = RotationRequest.from_arrays(triton.heard[0].arrays)
    assert (sent.seed, sent.steps, sent.fit) == (7, 20, "box")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--views", "0"), "views is 0; send 1 to 64"),
        (("--views", "65"), "views is 65; send 1 to 64"),
        (("--views", "1", "--to", "60"), "views is 1; send 2 to 64"),
        (("--to", "360"), "from 0 to 360 is 360 degrees"),
        (("--from", "300", "--to", "400"), "azimuth is 400; send -360 to 360"),
        (("--from", "nan"), "azimuth is nan; send a finite number"),
        (("--polar", "91"), "polar is 91; send -90 to 90"),
        (("--frame-ms", "19"), "frame_ms is 19; send 20 to 10000"),
        (("--quality", "101"), "quality is 101; send 0 to 100"),
        (("--quality", "80", "--output", "spin.gif"), "quality is for WebP, and a GIF has none"),
        (("--output", "spin.mp4"), "'spin.mp4' ends in none of .webp, .gif; name another file"),
        (("--output", "spin"), "'spin' ends in none of .webp, .gif"),
        (("--output", "-"), "'-' ends in none of .webp, .gif"),
        (("--output", "none/spin.gif"), "no folder 'none' to write 'spin.gif' into"),
        (("--output", "taken.gif"), "'taken.gif' is a folder; name a file"),
        (("--output", "/proc/spin.gif"), "cannot write into the folder '/proc'"),
        (("--frames", "laptop.jpg"), "cannot make the folder 'laptop.jpg'"),
        (("--frames", "/proc"), "cannot write into the folder '/proc'"),
        (("--frames", "taken.gif"), "'taken.gif/99-azimuth+9.png' is of another spin"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_server_is_asked(here, triton, respin, flags, sentence):
    (here / "taken.gif").mkdir()
    (here / "taken.gif/99-azimuth+9.png").write_bytes(b"an older frame")
    code, printed, complained = respin("spin", *PHOTO, *flags, "--url", triton.url)
    assert (code, printed) == (2, "")
    assert complained.startswith(f"respin: {sentence}")
    assert complained.count("\n") == 1
    assert triton.heard == []


def test_the_same_spin_may_be_made_again(here, triton, respin):
    triton.events = turned(*range(8))
    assert [respin(*SPIN, "--url", triton.url)[0] for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(
    ("status", "code"), [(grpc.StatusCode.INTERNAL, 1), (grpc.StatusCode.INVALID_ARGUMENT, 2)], ids=["theirs", "ours"]
)
def test_a_stream_that_fails_keeps_what_came_and_says_how_much(here, triton, respin, status, code):
    def events(arrays, context):
        yield from map(view, (4, 0, 2))
        yield refusal(status, "the network failed")

    triton.events = events
    left, _, complained = respin(*SPIN, "--url", triton.url)
    sentence = "respin: the network failed (3 of 8 views came, kept in 'spin-frames')\n"
    assert (left, complained) == (code, sentence)
    assert sorted(path.name for path in (here / "spin-frames").iterdir()) == [NAMES[0], NAMES[2], NAMES[4]]
    assert not (here / "spin.webp").exists()


def test_a_refusal_is_the_servers_sentence_alone(here, triton, respin):
    triton.events = lambda arrays, context: [refusal(grpc.StatusCode.NOT_FOUND, "no laptop in the photo")]
    assert respin(*SPIN, "--url", triton.url) == (3, "", "respin: no laptop in the photo\n")
    assert not (here / "spin-frames").exists()


def test_a_view_that_does_not_come_is_an_error(here, triton, respin):
    triton.events = turned(0, 1, 2, 4, 5, 6, 7)
    code, _, complained = respin(*SPIN, "--url", triton.url)
    wanted = "7 of 8 views came, kept in 'spin-frames', and none for azimuth +135; the server's log has the reason"
    assert (code, complained) == (1, f"respin: {wanted}\n")
    assert not (here / "spin.webp").exists()
