"""What the tests of `respin batch` share: the double's answers, and what a run leaves."""

from __future__ import annotations

import json
from collections import Counter

from scripted_triton import texts

TURN = ("--class-name", "chair", "--azimuth", "80", "--output", "out")


def turned(photo: bytes, view: int = 0) -> bytes:
    """What the double makes of a photo."""
    return b"turned %d " % view + photo


def answer(arrays, context):
    """The double's answer: as many pictures as there are views."""
    views = arrays["azimuth"].size if "azimuth" in arrays else 1
    return {"image": texts(*(turned(arrays["image"].item(), view) for view in range(views)))}


def records(folder):
    return [json.loads(line) for line in (folder / "out/manifest.jsonl").read_bytes().splitlines()]


def pictures(folder):
    """Every picture by its path in the output folder."""
    files = [path for path in (folder / "out").rglob("*") if path.is_file() and path.suffix != ".jsonl"]
    return {path.relative_to(folder / "out").as_posix(): path.read_bytes() for path in files}


def asked(triton) -> Counter[bytes]:
    return Counter(call.arrays["image"].item() for call in triton.heard)
