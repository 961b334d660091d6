"""`respin demo`: one job by the object's name, its truth beside it, figures and a spin."""

from __future__ import annotations

import re
from io import BytesIO

import grpc
import numpy as np
import pytest
from PIL import Image
from scripted_triton import PHOTO, event, picture, refusal, texts

from respin.request import OPTIONS, RotationRequest
from respin.scenes import render_scene
from respin_client.contact_sheet import CAPTION_PX, GAP_PX, TILE_PX
from respin_client.demo import DEMO_SEED, PHOTO_AZIMUTH, SPIN_STEPS
from respin_client.figures import VIEW_PX, figures, iou, mini_object_share, psnr
from respin_client.results import EncodedImage

NOTE = "mini: trained on rendered scenes"
PARTS = ("photo", "mask", "cut_out", "novel_view-0", "background", "generated")
TRUTH = ("truth", "true_view")


def png(pixels: np.ndarray) -> EncodedImage:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return EncodedImage(file.getvalue())


def perfect(scene) -> dict[str, EncodedImage]:
    """The pictures of a job that makes no mistake, by the names of their files."""
    view = scene.views(side=VIEW_PX, object_share=mini_object_share()).after
    return {
        "mask": png(scene.target.mask.astype(np.uint8) * 255),
        "novel_view-0": png(view),
        "background": png(scene.background),
        "generated": png(scene.turned),
    }


@pytest.fixture(scope="module")
def scene():
    return render_scene(DEMO_SEED)


@pytest.fixture
def engine(triton, scene):
    """An engine that makes no mistake, and any number of views."""
    made = {name: bytes(encoded) for name, encoded in perfect(scene).items()}
    outline = {
        "mask": texts(made["mask"]),
        "cut_out": texts(picture("gray")),
        "box": scene.target.box.to_array(),
        "score": np.array([0.75], np.float32),
    }

    def events(arrays, context):
        wanted = triton.heard[-1].outputs
        yield event("segmentation", **{name: value for name, value in outline.items() if name in wanted})
        if "background" in wanted:
            yield event("background", background=texts(made["background"]))
        views = len(arrays["azimuth"])
        for view in range(views):
            image = made["generated"] if views == 1 else picture(f"hsl({30 * view}, 90%, 50%)")
            sent = {"image": texts(image), "novel_view": texts(made["novel_view-0"])}
            yield event(view=view, **{name: value for name, value in sent.items() if name in wanted})
        yield event("done", notes=texts(NOTE))

    triton.events = events
    return triton


def test_the_demo_names_the_object_and_shows_each_step_beside_the_truth(here, engine, respin, scene):
    code, printed, complained = respin("demo", "--url", engine.url)
    assert (code, complained) == (0, "")
    turning, spinning = (RotationRequest.from_arrays(call.arrays) for call in engine.heard)
    assert (turning.class_name, turning.box) == (scene.target.kind, None)
    assert turning.azimuth == pytest.approx((scene.azimuth,))
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(turning.image))), scene.photo)
    assert spinning.image == turning.image
    folder = here / "demo-output"
    for name in (*PARTS, *TRUTH, "sheet", "spin-sheet"):
        assert f"wrote demo-output/{name}.png" in printed.splitlines()
        assert (folder / f"{name}.png").is_file()
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "truth.png")), scene.turned)
    with Image.open(folder / "spin.webp") as animation:
        assert animation.n_frames == 22  # twelve there, ten back
    assert len(list((folder / "spin-frames").iterdir())) == 12


def test_the_demo_prints_figures_and_each_note_once(here, engine, respin):
    _, printed, _ = respin("demo", "--url", engine.url)
    assert printed.count(f"note: {NOTE}") == 1
    assert ", score 0.75" in printed
    told = [line.partition(":")[0] for line in printed.splitlines() if not line.startswith(("wrote", "note", "found"))]
    assert told == [
        "mask",
        "novel view",
        "background where the object was",
        "composite where the object was or is",
    ]
    assert "mask: IoU 1.000" in printed


def test_the_sheet_shows_every_picture_and_goes_where_it_is_asked_to(here, engine, respin, scene):
    assert respin("demo", "--sheet", "sheet.png", "--url", engine.url)[0] == 0
    assert not (here / "demo-output/sheet.png").exists()
    sheet = Image.open(here / "sheet.png")
    across, down = TILE_PX + GAP_PX, TILE_PX + CAPTION_PX + GAP_PX
    assert sheet.size == (4 * across + GAP_PX, 2 * down + GAP_PX)
    last_but_one = (GAP_PX + 2 * across, GAP_PX + down + CAPTION_PX + TILE_PX // 8)
    truth = Image.fromarray(scene.turned).resize((TILE_PX, TILE_PX * 3 // 4), Image.Resampling.LANCZOS)
    shown = sheet.crop((*last_but_one, last_but_one[0] + TILE_PX, last_but_one[1] + truth.height))
    assert np.abs(np.asarray(shown).astype(int) - np.asarray(truth)).max() <= 2


def test_a_photo_is_turned_without_figures(here, engine, respin):
    code, printed, _ = respin("demo", *PHOTO, "--output", "mine", "--box", "0", "0", "8", "4", "--url", engine.url)
    assert code == 0
    sent = RotationRequest.from_arrays(engine.heard[0].arrays)
    assert (sent.image, sent.class_name, sent.azimuth) == (picture("white"), "laptop", (PHOTO_AZIMUTH,))
    assert sent.box == (0, 0, 8, 4)
    assert "PSNR" not in printed
    assert {f"{name}.png" for name in PARTS} <= {path.name for path in (here / "mine").iterdir()}
    assert not (here / "mine/truth.png").exists()


def test_the_spin_takes_fewer_steps_unless_told_otherwise(here, engine, respin):
    for flags, wanted in (((), [75, SPIN_STEPS]), (("--steps", "3", "--seed", "7"), [3, 3])):
        engine.heard.clear()
        assert respin("demo", *flags, "--url", engine.url)[0] == 0
        sent = [RotationRequest.from_arrays(call.arrays) for call in engine.heard]
        assert [each.steps for each in sent] == wanted
        assert {each.seed for each in sent} == {7 if flags else 0}


def test_another_scene_may_be_chosen(here, engine, respin):
    engine.events = lambda arrays, context: [refusal(grpc.StatusCode.NOT_FOUND, "no lamp in the photo")]
    assert respin("demo", "--scene", "1000000", "--url", engine.url)[::2] == (3, "respin: no lamp in the photo\n")
    assert RotationRequest.from_arrays(engine.heard[0].arrays).class_name == "lamp"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--image", "laptop.jpg"), "a photo needs a name; give --image and --class-name together, or neither"),
        (("--class-name", "laptop"), "a photo needs a name"),
        (("--scene", "-1"), "seed is -1"),
        (("--sheet", "sheet.gif"), "'sheet.gif' ends in none of .png"),
        (("--output", "laptop.jpg"), "cannot make the folder 'laptop.jpg'"),
        ((*PHOTO, "--steps", "0"), "steps is 0"),
        (("--image", "none.jpg", "--class-name", "laptop"), "cannot read the photo 'none.jpg'"),
        (("--image", "words.jpg", "--class-name", "laptop"), "the photo cannot be decoded"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_server_is_asked(here, engine, respin, flags, sentence):
    (here / "words.jpg").write_text("no picture")
    code, printed, complained = respin("demo", *flags, "--url", engine.url)
    assert (code, printed) == (2, "")
    assert complained.startswith(f"respin: {sentence}")
    assert engine.heard == []


def test_the_options_of_a_request_may_be_set(monkeypatch, respin):
    monkeypatch.setenv("COLUMNS", "240")
    words = respin("demo", "--help")[1].split()
    for name in OPTIONS:
        assert (f"--{name.replace('_', '-')}" in words) == (name not in ("azimuth", "polar", "output_format")), name


# ---------- figures ----------


def test_figures_compare_each_picture_with_the_truth_and_with_doing_nothing(scene):
    mask, view, background, composite = figures(scene, perfect(scene))
    assert mask == "mask: IoU 1.000 with the true mask"
    for line in (view, background, composite):
        assert "PSNR inf dB to the truth" in line
    lazy = {**perfect(scene), "generated": png(scene.photo), "mask": png(scene.turned_mask.astype(np.uint8) * 255)}
    mask, _, _, composite = figures(scene, lazy)
    ours, baseline = decibels(composite)
    assert ours == baseline
    assert ours < 20
    assert "1.000" not in mask


def test_a_view_of_any_side_is_compared_at_one_side(scene):
    large = scene.views(side=4 * VIEW_PX, object_share=mini_object_share()).after
    line = figures(scene, {**perfect(scene), "novel_view-0": png(large)})[1]
    ours, alone = decibels(line)
    assert ours > 25 > alone


def test_psnr_and_iou_are_the_textbooks():
    black, grey = np.zeros((4, 4), np.uint8), np.full((4, 4), 51, np.uint8)
    assert psnr(grey, black) == pytest.approx(20 * np.log10(5))
    assert psnr(black, black) == np.inf
    left, top = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    left[:, :2], top[:2] = True, True
    assert iou(left, top) == pytest.approx(4 / 12)


def decibels(line: str) -> list[float]:
    """The figures of a line in decibels: ours, then the baseline's."""
    return [float(number) for number in re.findall(r"([\d.]+) dB", line)]
