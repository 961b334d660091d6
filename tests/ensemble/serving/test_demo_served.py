"""`respin demo` on the real server, by the object's name alone."""

import pytest
from PIL import Image

from respin_client import command

pytestmark = pytest.mark.triton


def test_the_demo_finds_turns_and_spins_the_object_of_a_rendered_scene(local_server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    quick = ("--steps", "3", "--background-steps", "2")
    with pytest.raises(SystemExit) as end:
        command.main(["demo", *quick, "--url", str(local_server.endpoints["gRPC"])])
    assert not end.value.code
    folder = tmp_path / "demo-output"
    sides = {"photo": (512, 384), "mask": (512, 384), "background": (512, 384), "generated": (512, 384)}
    for name, size in {**sides, "truth": (512, 384), "true_view": (256, 256), "sheet": (1520, 824)}.items():
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.size == size, name
    with Image.open(folder / "spin.webp") as animation:
        assert (animation.n_frames, animation.size) == (22, (512, 384))
    printed = capsys.readouterr().out
    assert "mask: IoU " in printed
    assert "composite where the object was or is: PSNR " in printed
