"""Which photos `respin batch` takes, and where their pictures go."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from batch_jobs import TURN, asked, pictures, turned

from respin.request import RotationRequest


def test_photos_of_one_name_in_different_folders_have_files_of_their_own(tmp_path, photos, turning, respin):
    photos("a/x.jpg", "b/x.jpg", "b/X.jpg", "c/x_2.jpg")
    files = ("a/x.jpg", "b/x.jpg", "b/X.jpg", "c/x_2.jpg")
    assert respin("batch", *files, *TURN, "--url", turning.url)[0] == 0
    assert pictures(tmp_path) == {
        "x.png": turned(b"a/x.jpg"),
        "x_2.png": turned(b"b/x.jpg"),
        "X_3.png": turned(b"b/X.jpg"),
        "x_2_2.png": turned(b"c/x_2.jpg"),
    }
    turning.heard.clear()
    assert respin("batch", *reversed(files), *TURN, "--url", turning.url)[0] == 0
    assert turning.heard == [], "every photo keeps its files whatever the order"


def test_a_folder_keeps_its_folders(tmp_path, photos, turning, respin):
    photos("photos/x.jpg", "photos/deep/x.JPEG", "photos/deep/y.webp", "photos/.hidden/z.png", "photos/notes.txt")
    assert respin("batch", "photos", *TURN, "--url", turning.url)[0] == 0
    assert sorted(pictures(tmp_path)) == ["deep/x.png", "deep/y.png", "x.png"]


def test_a_pattern_keeps_the_folders_below_its_fixed_part(tmp_path, photos, turning, respin):
    photos("shop/a/x.jpg", "shop/b/c/x.jpg", "shop/b/y.png")
    assert respin("batch", "shop/**/*.jpg", *TURN, "--url", turning.url)[0] == 0
    assert sorted(pictures(tmp_path)) == ["a/x.png", "b/c/x.png"]


def test_outputs_below_the_photos_are_no_photos_of_the_next_run(tmp_path, photos, turning, respin):
    photos("x.jpg")
    assert [respin("batch", ".", *TURN, "--url", turning.url)[0] for _ in range(2)] == [0, 0]
    assert asked(turning) == Counter([b"x.jpg"])


LISTS = {
    "csv": "image,class_name,box,azimuth,seed\nx.jpg,chair,1 2 30 40,80,\nx.jpg,,,-40 40,7\n../y.jpg,sofa,,,\n",
    "jsonl": """{"image": "x.jpg", "class_name": "chair", "box": [1, 2, 30, 40], "azimuth": 80, "seed": null}
{"image": "x.jpg", "azimuth": [-40, 40], "seed": 7}

{"image": "../y.jpg", "class_name": "sofa"}
""",
}


@pytest.mark.parametrize("form", LISTS)
def test_a_list_has_a_row_for_each_job(tmp_path, photos, turning, respin, form):
    photos("shop/x.jpg", "y.jpg")
    (tmp_path / f"shop/list.{form}").write_text(LISTS[form])
    flags = ("--class-name", "lamp", "--output-format", "jpeg", "--output", "out", "--url", turning.url)
    code, _, complained = respin("batch", f"shop/list.{form}", *flags)
    assert (code, complained) == (0, "")
    assert pictures(tmp_path) == {
        "x.jpg": turned(b"shop/x.jpg"),
        "x-0.jpg": turned(b"shop/x.jpg"),
        "x-1.jpg": turned(b"shop/x.jpg", 1),
        "y.jpg": turned(b"y.jpg"),
    }
    sent = {RotationRequest.from_arrays(call.arrays) for call in turning.heard}
    assert sent == {
        RotationRequest(b"shop/x.jpg", "chair", (80.0,), box=(1, 2, 30, 40), output_format="jpeg"),
        RotationRequest(b"shop/x.jpg", "lamp", (-40.0, 40.0), seed=7, output_format="jpeg"),
        RotationRequest(b"y.jpg", "sofa", output_format="jpeg"),
    }


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "image,angle\nx.jpg,80\n", "a.csv line 1: unknown field 'angle'; the fields are image, class_name"),
        ("a.csv", "class_name\nchair\n", "a.csv line 1: there is no 'image'"),
        ("a.csv", "image,image\nx.jpg,x.jpg\n", "a.csv line 1: a field is named twice"),
        ("a.csv", "image,class_name\nx.jpg,chair\n,chair\n", "a.csv line 3: image is empty"),
        ("a.csv", "image\nx.jpg,80\n", "a.csv line 2 has 2 cells, and the first line names 1 columns"),
        ("a.csv", "image,azimuth\nx.jpg,right\n", "a.csv line 2: azimuth is 'right'; write one or several numbers"),
        ("a.csv", "image,azimuth\nx.jpg,999\n", "a.csv line 2: azimuth is 999; send -360 to 360"),
        ("a.csv", "image,box\nx.jpg,1 2 3\n", "a.csv line 2: box has 3 numbers; send 4"),
        ("a.csv", 'image\n"x.jpg\n', "the list 'a.csv' is not CSV"),
        ("a.csv", "image\n", "the list 'a.csv' has no rows"),
        ("a.jsonl", "x.jpg\n", "a.jsonl line 1 is not JSON"),
        ("a.jsonl", '["x.jpg"]\n', "a.jsonl line 1 is no JSON object"),
        ("a.jsonl", '{"image": "x.jpg", "steps": true}\n', "a.jsonl line 1: steps is True; write an integer"),
        ("a.jsonl", '{"image": "x.jpg", "box": "1 2 3 4"}\n', "a.jsonl line 1: box is '1 2 3 4'; write four numbers"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_before_anything_is_sent(
    photos, turning, respin, *, name, content, sentence
):
    photos("x.jpg")
    Path(name).write_text(content)
    code, printed, complained = respin("batch", "x.jpg", name, *TURN, "--url", turning.url)
    assert (code, printed, complained.count("\n")) == (2, "", 1)
    assert complained.startswith(f"respin: {sentence}")
    assert turning.heard == []
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("none.jpg", *TURN), "there is no 'none.jpg'"),
        (("none/*.jpg", *TURN), "'none/*.jpg' has no photo"),
        (("none.csv", *TURN), "cannot read the list 'none.csv' (No such file or directory)"),
        (("x.jpg", "--output", "out"), "x.jpg has no class_name; give --class-name"),
        (("x.jpg", *TURN, "--steps", "1"), "x.jpg: steps is 1; send 2 to 250"),
        (("x.jpg", *TURN, "--concurrency", "29"), "concurrency is 29; send 1 to 28"),
        (("x.jpg", *TURN, "--wait-s", "-1"), "wait_s is -1.0; send a number of seconds"),
        (("x.jpg", *TURN, "--output", "x.jpg"), "cannot make the folder 'x.jpg'"),
        (("x.jpg", *TURN, "--output", ".", "--output-format", "jpeg"), "'x.jpg' is one of the photos"),
    ],
)
def test_the_callers_mistakes_are_one_line_and_code_2(photos, turning, respin, arguments, sentence):
    photos("x.jpg")
    code, printed, complained = respin("batch", *arguments, "--url", turning.url)
    assert (code, printed, complained.count("\n")) == (2, "", 1)
    assert complained.startswith(f"respin: {sentence}")
    assert turning.heard == []


def test_a_photo_that_is_not_there_is_that_rows_failure(tmp_path, photos, turning, respin):
    photos("x.jpg")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "list.csv").write_text("image\nnone.jpg\nx.jpg\nempty.jpg\n")
    code, printed, complained = respin("batch", "list.csv", *TURN, "--url", turning.url)
    assert code == 1
    assert "3 photos: 1 done, 2 failed" in printed
    assert "none.jpg' (No such file or directory)" in complained
    assert "empty.jpg: image has 0 bytes" in complained
