"""What a second `respin batch` takes from the manifest of the first."""

from __future__ import annotations

import os
from collections import Counter

from batch_jobs import TURN, asked, pictures, records, turned


def test_a_manifest_torn_in_its_last_line_is_read(tmp_path, photos, turning, respin):
    photos("x.jpg", "y.jpg")
    run = ("batch", "x.jpg", "y.jpg", *TURN, "--concurrency", "1", "--url", turning.url)
    assert respin(*run)[0] == 0
    manifest = tmp_path / "out/manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    turning.heard.clear()
    assert respin(*run)[0] == 0
    assert asked(turning) == Counter([b"y.jpg"])
    assert [record["status"] for record in records(tmp_path)] == ["done", "done"]


def test_a_manifest_that_is_none_is_refused(tmp_path, photos, turning, respin):
    photos("x.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/manifest.jsonl").write_text('{"name": "a web app"}\n')
    code, _, complained = respin("batch", "x.jpg", *TURN, "--url", turning.url)
    assert code == 2
    assert "manifest.jsonl' line 1 is no record of a batch" in complained


def test_what_changed_or_was_removed_is_made_again(tmp_path, photos, turning, respin):
    photos("x.jpg", "y.jpg", "z.jpg")
    run = ("batch", "x.jpg", "y.jpg", "z.jpg", *TURN, "--url", turning.url)
    assert respin(*run)[0] == 0
    turning.heard.clear()
    (tmp_path / "x.jpg").write_bytes(b"another photo")
    (tmp_path / "out/y.png").unlink()
    assert respin(*run)[0] == 0
    assert asked(turning) == Counter([b"another photo", b"y.jpg"])
    assert pictures(tmp_path)["x.png"] == turned(b"another photo")


def test_another_request_for_the_same_photos_replaces_nothing(tmp_path, photos, turning, respin):
    photos("x.jpg")
    run = ("batch", "x.jpg", *TURN, "--url", turning.url)
    assert [respin(*run)[0], respin(*run, "--seed", "7")[0], respin(*run)[0]] == [0, 0, 0]
    assert sorted(pictures(tmp_path)) == ["x.png", "x_2.png"]
    assert len(turning.heard) == 2


def test_a_photo_that_is_named_twice_is_done_once(photos, turning, respin):
    photos("photos/x.jpg")
    code, printed, _ = respin("batch", "photos", "photos/x.jpg", *TURN, "--url", turning.url)
    assert code == 0
    assert "1 photo: 1 done" in printed
    assert len(turning.heard) == 1


def test_a_name_that_is_no_utf_8_is_a_name(tmp_path, photos, turning, respin):
    photos("x.jpg")
    (tmp_path / "x.jpg").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg"))
    run = ("batch", ".", *TURN, "--url", turning.url)
    assert [respin(*run)[0] for _ in range(2)] == [0, 0]
    assert len(turning.heard) == 1
