"""The `respin` command: flags, files, words and exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from PIL import Image, ImageColor
from PIL.PngImagePlugin import PngInfo
from scripted_triton import PHOTO, WAIT_S, event, picture, texts

from respin.contracts import ROTATE_OBJECT
from respin.request import DEFAULTS, OPTIONS, RotationRequest
from respin_client.command import main
from respin_client.contact_sheet import CAPTION_PX, COLUMNS, GAP_PX, TILE_PX
from respin_client.files import SUFFIXES
from respin_client.options_table import requests_page

ROOT = Path(__file__).parents[2]


def views(count: int):
    """An engine's answer of so many views."""
    parts = {"mask": texts(picture("black")), "cut_out": texts(picture("gray"))}
    each = [
        event(view=view, image=texts(picture(COMPOSED[view])), novel_view=texts(picture(TURNED[view])))
        for view in range(count)
    ]
    background = event("background", background=texts(picture("brown")))
    done = event("done", notes=texts("view 0 was found by its colour"))
    return lambda arrays, context: [event("segmentation", **parts), background, *each, done]


COMPOSED, TURNED = ("red", "green"), ("orange", "blue")


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


def test_segment_writes_mask_and_cut_out(here, triton, respin):
    triton.reply = lambda arrays, context: {
        "mask": texts(b"mask"),
        "cut_out": texts(b"cut-out"),
        "box": np.array([1, 2, 30, 40], np.float32),
        "score": np.array([0.5], np.float32),
        "notes": texts("a note"),
    }
    code, printed, _ = respin(
        "segment", *PHOTO, "--output", "m.png", "--cut-out", "c.png", "--box-threshold", "0.2", "--url", triton.url
    )
    assert code == 0
    assert ((here / "m.png").read_bytes(), (here / "c.png").read_bytes()) == (b"mask", b"cut-out")
    assert printed.splitlines()[2:] == ["found at 1, 2, 30, 40 px, score 0.50", "note: a note"]
    assert triton.heard[0].arrays["box_threshold"] == np.float32(0.2)


def test_segment_with_a_box_claims_no_detection(here, triton, respin):
    triton.reply = lambda arrays, context: {
        "mask": texts(b"mask"),
        "box": np.array([1, 2, 30, 40], np.float32),
        "score": np.array([1], np.float32),
        "notes": texts(),
    }
    _, printed, _ = respin("segment", *PHOTO, "--box", "1", "2", "30", "40", "--url", triton.url)
    assert "took the box that was given, 1, 2, 30, 40 px; nothing was detected" in printed
    assert "score" not in printed
    assert "found" not in printed


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--output", "mask.jpg"), "'mask.jpg' ends in none of .png; masks and cut-outs are PNGs"),
        (("--cut-out", "laptop.webp"), "'laptop.webp' ends in none of .png"),
        (("--output", "-", "--cut-out", "-"), "mask and cut-out do not go into one standard output"),
    ],
)
def test_what_segment_cannot_write_is_refused(here, triton, respin, flags, sentence):
    code, printed, complained = respin("segment", *PHOTO, *flags, "--url", triton.url)
    assert (code, printed) == (2, "")
    assert complained.startswith(f"respin: {sentence}")
    assert triton.heard == []


def in_a_pipe(folder, *arguments, photo=b""):
    """Run the command with pipes: what it printed, what it complained."""
    ended = subprocess.run(
        [sys.executable, "-m", "respin_client", *arguments], cwd=folder, input=photo, capture_output=True, check=True
    )
    return ended.stdout, ended.stderr.decode()


def test_a_photo_comes_from_standard_input_and_a_view_goes_to_standard_output(here, triton):
    triton.events = views(1)
    flags = ("--image", "-", "--class-name", "laptop", "--azimuth", "80", "--output", "-", "--save", "parts")
    printed, complained = in_a_pipe(here, "rotate", *flags, "--url", triton.url, photo=picture("white"))
    assert printed == picture("red")
    assert RotationRequest.from_arrays(triton.heard[0].arrays).image == picture("white")
    assert complained.splitlines()[-2:] == ["note: view 0 was found by its colour", "wrote parts/sheet.png"]


def test_a_mask_goes_to_standard_output(here, triton):
    triton.reply = lambda arrays, context: {
        "mask": texts(b"mask"),
        "box": np.array([1, 2, 30, 40], np.float32),
        "score": np.array([0.5], np.float32),
        "notes": texts("a note"),
    }
    printed, complained = in_a_pipe(here, "segment", *PHOTO, "--output", "-", "--url", triton.url)
    assert (printed, complained.splitlines()) == (b"mask", ["found at 1, 2, 30, 40 px, score 0.50", "note: a note"])


def test_a_terminal_is_neither_photo_nor_file(here, respin, monkeypatch):
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    code, _, complained = respin("rotate", "--image", "-", "--class-name", "laptop")
    assert (code, complained.partition(";")[0]) == (2, "respin: standard input is a terminal")
    monkeypatch.setattr(sys, "__stdout__", terminal)
    code, _, complained = respin("rotate", *PHOTO, "--output", "-")
    assert (code, complained.partition(";")[0]) == (2, "respin: standard output is a terminal")


def test_help_has_the_exit_statuses(respin):
    _, printed, _ = respin("--help")
    assert "3    the photo does not show the object" in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--image", "none.jpg", "--class-name", "laptop"), "cannot read the photo 'none.jpg'"),
        ((*PHOTO, "--azimuth", "999"), "azimuth is 999; send -360 to 360"),
        ((*PHOTO, "--fit", "tight"), "fit is 'tight'; choose one of view, box"),
        ((*PHOTO, "--output", "x.gif"), "'x.gif' ends in none of .png, .jpg, .jpeg, .webp"),
        ((*PHOTO, "--output", "x.png", "--output-format", "jpeg"), "'x.png' is the name of a png file"),
        ((*PHOTO, "--azimuth=1", "--azimuth=2", "--output", "-"), "2 views do not go into one standard output"),
        ((*PHOTO, "--output", "none/x.png"), "no folder 'none' to write 'x.png' into"),
        ((*PHOTO, "--save", "laptop.jpg"), "cannot make the folder 'laptop.jpg'"),
        ((*PHOTO, "--header", "key"), "header is 'key'; send NAME:VALUE"),
        ((*PHOTO, "--tls-key", "key.pem"), "TLS has a key only"),
        ((*PHOTO, "--timeout-s", "0"), "timeout_s is 0.0"),
    ],
)
def test_the_callers_mistakes_are_one_line_and_code_2(here, respin, arguments, sentence):
    code, printed, complained = respin("rotate", *arguments)
    assert (code, printed) == (2, "")
    assert complained.startswith(f"respin: {sentence}")
    assert complained.count("\n") == 1


@pytest.mark.parametrize("flag", [("--steps", "many"), ("--no-such-flag",)])
def test_a_bad_flag_is_code_2(here, respin, flag):
    code, _, complained = respin("rotate", *PHOTO, *flag)
    assert code == 2
    assert flag[0] in complained


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (grpc.StatusCode.NOT_FOUND, 3),
        (grpc.StatusCode.INVALID_ARGUMENT, 2),
        (grpc.StatusCode.FAILED_PRECONDITION, 2),
        (grpc.StatusCode.INTERNAL, 1),
        (grpc.StatusCode.CANCELLED, 1),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_exit_code_says_whose_fault_it_is(here, triton, respin, status, code):
    triton.events = lambda arrays, context: context.abort(status, "the server's sentence")
    assert respin("rotate", *PHOTO, "--save", "parts/of/it", "--url", triton.url) == (
        code,
        "",
        "respin: the server's sentence\n",
    )
    assert [path.name for path in here.iterdir()] == ["laptop.jpg"]


def test_a_server_that_is_not_there_is_code_1(here, respin, nobody):
    code, _, complained = respin("rotate", *PHOTO, "--url", nobody)
    assert code == 1
    assert complained.startswith(f"respin: no server answers at {nobody}")


def test_a_view_that_does_not_come_is_an_error(here, triton, respin):
    triton.events = views(1)
    code, printed, complained = respin("rotate", *PHOTO, "--azimuth=1", "--azimuth=2", "--url", triton.url)
    assert (code, complained) == (1, "respin: the server sent no view 1; its log has the reason\n")
    assert "wrote generated-0.png" in printed


def test_tls_and_headers_reach_the_server(here, tls_triton, certificate, respin):
    tls_triton.events = views(1)
    pem = str(certificate.certificate)
    tls = ("--tls-root", pem, "--tls-certificate", pem, "--tls-key", str(certificate.key))
    code, *_ = respin("rotate", *PHOTO, *tls, "--header", "Key: a:b", "--url", tls_triton.url)
    assert code == 0
    assert tls_triton.heard[0].headers["key"] == "a:b"


def test_a_failed_handshake_is_one_sentence(here, triton):
    ended = subprocess.run(
        [sys.executable, "-m", "respin_client", "rotate", *PHOTO, "--tls", "--url", triton.url],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    sentence = f"respin: the server at {triton.url} does not speak TLS; connect without TLS, or to its TLS port\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", sentence)


def test_an_interrupted_command_says_nothing_and_is_code_130(here, triton):
    asked = threading.Event()

    def events(arrays, context):
        yield event("detection")
        asked.set()
        triton.ended.wait(WAIT_S)

    triton.events = events
    with subprocess.Popen(
        [sys.executable, "-m", "respin_client", "rotate", *PHOTO, "--save", "parts", "--url", triton.url],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert asked.wait(WAIT_S)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=WAIT_S) == ("", "")
    assert process.returncode == 130
    assert not (here / "parts").exists()


def test_an_interrupt_while_the_commands_are_loaded_is_code_130(capsys):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as leaving:
        main(["--help"], [SimpleNamespace(name="slow", load=interrupt)])
    assert leaving.value.code == 130
    assert capsys.readouterr().err == ""


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
