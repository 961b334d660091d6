"""What the README tells a new user to type works."""

import re
import shlex
from pathlib import Path

import pytest

from respin.bundled import bundled_path
from respin_client import command

pytestmark = pytest.mark.triton

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()


def test_the_python_example_saves_a_view(local_server, tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(bundled_path("examples"))
    served = example.replace("127.0.0.1:8001", str(local_server.endpoints["gRPC"]))
    assert served != example
    exec(compile(served, "README.md", "exec"), {})
    assert (tmp_path / "view-0.png").stat().st_size > 10_000


@pytest.mark.parametrize("line", re.findall(r"^respin (?:rotate|segment) .*$", README, re.MULTILINE))
def test_a_command_of_the_readme_writes_its_file(local_server, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "laptop.jpg").symlink_to(bundled_path("examples") / "coffee.png")
    words = shlex.split(line, comments=True)[1:]
    url = str(local_server.endpoints["gRPC"])
    box = ("--box", "165", "12", "428", "312")
    with pytest.raises(SystemExit) as end:
        command.main([*words, *box, "--url", url])
    assert not end.value.code
    assert (tmp_path / words[words.index("--output") + 1]).is_file()
