"""The clients in examples/ work, each by the command that examples/README.md gives."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from mini_server import serve
from PIL import Image

from respin_server.launcher import EmbeddedTriton

pytestmark = pytest.mark.triton

EXAMPLES = Path(__file__).parents[3] / "examples"
COMMANDS = dict(re.findall(r"^\| \[(.+?)\].* \| `(.+?)` \|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE))

GO_PACKAGES = {
    "golang-google-grpc-dev": "google.golang.org/grpc",
    "golang-google-protobuf-dev": "google.golang.org/protobuf",
    "golang-github-golang-protobuf-1-5-dev": "github.com/golang/protobuf/proto/registry.go",
}


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    """Environment variables with the addresses of a server whose HTTP API is open."""
    closed = serve("local", tmp_path_factory.mktemp("examples"), exit_timeout_s=1)
    with EmbeddedTriton(replace(closed.options, http_port=0)) as server:
        yield {"RESPIN_URL": str(server.endpoints["gRPC"]), "RESPIN_HTTP": str(server.endpoints["HTTP"])}


@pytest.fixture
def run(tmp_path, addresses):
    """Run an example's command beside a copy of the examples, after a check that its programs are installed."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("node_modules", "*.protoset"))
    path = f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"

    def command(example: str, *programs: str, **environment: str) -> subprocess.CompletedProcess[str]:
        for program in programs:
            if shutil.which(program, path=path) is None:
                pytest.skip(f"examples/{example} needs '{program}', which is not installed here")
        return subprocess.run(
            ["bash", "-c", COMMANDS[example]],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, **addresses, **environment},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    return command


def test_every_example_has_a_command():
    files = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if "node_modules" not in path.parts}
    clients = {name for name in files if Path(name).suffix in (".py", ".sh", ".js", ".go", ".ipynb")}
    assert COMMANDS.keys() == clients


def test_tritonclient_turns_an_object(tmp_path, run):
    done = run("rotate.py")
    assert done.returncode == 0, done.stderr
    for view in range(2):
        with Image.open(tmp_path / f"turned-{view}.png") as picture:
            assert picture.size == (600, 400)


def test_curl_turns_an_object(tmp_path, run):
    done = run("rotate.sh", "curl")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "turned.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (600, 400))


def test_curl_shows_the_servers_sentence(tmp_path, run):
    script = tmp_path / "examples/rotate.sh"
    script.write_text(script.read_text().replace('"data": [40]', '"data": [400]'))
    done = run("rotate.sh", "curl")
    assert done.returncode == 1
    assert "azimuth is 400; send -360 to 360" in done.stderr
    assert not (tmp_path / "turned.png").exists()


def test_javascript_follows_a_job(tmp_path, run):
    done = run("javascript/rotate.js", "node", "npm")
    if "npm error" in done.stderr:
        pytest.skip(f"npm could not install what the example needs: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    assert "done 0 of 0" in done.stdout.splitlines()
    for view in range(2):
        with Image.open(tmp_path / f"examples/javascript/turned-{view}.png") as picture:
            assert picture.size == (600, 400)


def test_go_turns_an_object(tmp_path, run):
    for package, file in GO_PACKAGES.items():
        if not Path("/usr/share/gocode/src", file).exists():
            pytest.skip(f"examples/go/rotate.go needs Debian's {package}, which is not installed here")
    done = run("go/rotate.go", "go")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "examples/go/turned.png") as picture:
        assert picture.size == (600, 400)


@pytest.fixture
def web(addresses, monkeypatch):
    """A client of the web service."""
    pytest.importorskip("fastapi", reason="examples/web.py needs fastapi, which is not installed here")
    from fastapi.testclient import TestClient

    monkeypatch.setenv("RESPIN_URL", addresses["RESPIN_URL"])
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delitem(sys.modules, "web", raising=False)
    import web

    with web.client, TestClient(web.app) as client:
        yield client


def test_a_web_service_turns_what_is_sent_to_it(web, coffee):
    form = {"class_name": "coffee cup", "azimuth": 40, "box": "165 12 428 312"}
    answer = web.post("/rotate", files={"photo": coffee}, data=form)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    with Image.open(BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (600, 400))


@pytest.mark.parametrize(
    ("form", "status", "sentence"),
    [
        ({"class_name": "cup", "azimuth": 400}, 400, "azimuth is 400; send -360 to 360"),
        ({"class_name": "zeppelin", "azimuth": 40}, 404, "no 'zeppelin' in the photo"),
    ],
)
def test_a_web_service_answers_in_the_servers_words(web, coffee, form, status, sentence):
    answer = web.post("/rotate", files={"photo": coffee}, data=form)
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(sentence)


def test_the_notebook_runs_and_was_run(tmp_path, run):
    pytest.importorskip("ipykernel", reason="examples/rotate.ipynb needs ipykernel, which is not installed here")
    kept = pictures(EXAMPLES / "rotate.ipynb")
    done = run("rotate.ipynb", "jupyter")
    assert done.returncode == 0, done.stderr
    assert pictures(tmp_path / "examples/rotate.ipynb") == kept == 5


def pictures(notebook: Path) -> int:
    """How many pictures the outputs of a notebook show."""
    cells = json.loads(notebook.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]
    return sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in outputs)
