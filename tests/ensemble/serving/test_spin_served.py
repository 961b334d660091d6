"""`respin spin` on the real server, as the README has it."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from respin.bundled import bundled_path
from respin_client import command

pytestmark = pytest.mark.triton

README = (Path(__file__).parents[3] / "README.md").read_text()


def test_the_readmes_spin_goes_all_round_the_object(local_server, tmp_path, monkeypatch):
    (line,) = re.findall(r"^respin spin .*$", README, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "laptop.jpg").symlink_to(bundled_path("examples") / "coffee.png")
    quick = ("--box", "165", "12", "428", "312", "--steps", "3", "--background-steps", "2")
    url = str(local_server.endpoints["gRPC"])
    with pytest.raises(SystemExit) as end:
        command.main([*shlex.split(line, comments=True)[1:], *quick, "--url", url])
    assert not end.value.code
    with Image.open(tmp_path / "spin.webp") as animation:
        assert (animation.n_frames, animation.size) == (12, (600, 400))
    frames = sorted(path.name for path in (tmp_path / "spin-frames").iterdir())
    assert frames == [f"{view:02}-azimuth+{30 * view}.png" for view in range(12)]
    assert (tmp_path / "spin-sheet.png").is_file()
