"""`respin segment`, and photos and pictures through pipes."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scripted_triton import PHOTO, picture, texts, views

from respin.request import RotationRequest


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
    assert printed.splitlines()[:2] == ["found at 1, 2, 30, 40 px, score 0.50", "note: a note"]
    assert printed.splitlines()[2:] == ["wrote m.png", "wrote c.png"]
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
