"""Servers to talk to, an address where there is none, and photos to send."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from batch_jobs import answer
from scripted_triton import WAIT_S, ScriptedTriton, picture, serve

from respin_client.command import main


@dataclass(frozen=True)
class Certificate:
    """Self-signed, for 127.0.0.1; it is its own authority."""

    certificate: Path
    key: Path


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> Iterator[None]:
    """Let the commands hear Ctrl-C also where a shell has started the tests in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def triton() -> Iterator[ScriptedTriton]:
    scripted = ScriptedTriton()
    server = serve(scripted)
    yield scripted
    server.stop(None).wait(WAIT_S)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("tls")
    pair = Certificate(folder / "certificate.pem", folder / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=respin-test", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(pair.key), "-out", str(pair.certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return pair


@pytest.fixture
def tls_triton(certificate: Certificate) -> Iterator[ScriptedTriton]:
    """A server that shows a certificate and asks the client for one."""
    pem, key = certificate.certificate.read_bytes(), certificate.key.read_bytes()
    scripted = ScriptedTriton()
    server = serve(scripted, grpc.ssl_server_credentials([(key, pem)], pem, require_client_auth=True))
    yield scripted
    server.stop(None).wait(WAIT_S)


@pytest.fixture
def tls_triton_for_all(certificate: Certificate) -> Iterator[ScriptedTriton]:
    """A server that shows a certificate and asks for none."""
    scripted = ScriptedTriton()
    pair = certificate.key.read_bytes(), certificate.certificate.read_bytes()
    server = serve(scripted, grpc.ssl_server_credentials([pair]))
    yield scripted
    server.stop(None).wait(WAIT_S)


@pytest.fixture
def nobody() -> str:
    """An address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with a photo in it, as the working directory."""
    (tmp_path / "laptop.jpg").write_bytes(picture("white"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def respin(capsys):
    """Run the command: exit code, what it printed, what it complained."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as leaving:
            main(arguments, entry_points=())
        printed = capsys.readouterr()
        return leaving.value.code, printed.out, printed.err

    return run


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Write photos, each of its own content, into the working directory; their names are relative to it."""
    monkeypatch.chdir(tmp_path)

    def write(*names: str) -> None:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(name.encode())

    return write


@pytest.fixture
def turning(triton):
    triton.reply = answer
    return triton
