"""`respin doctor` in plain sentences."""

from __future__ import annotations

import socket

import pytest

from respin.model_set import ModelSet, NetworkFile, Sizes, sha256_of
from respin_client import TLS, doctor
from respin_client.client import Client
from respin_client.command import main
from respin_client.doctor import Finding, GpuInfo


def test_what_is_missing_comes_with_the_command_that_brings_it():
    requirements = ["numpy>=1.26", "no-such-package>=2; extra == 'serve'", 'pillow; extra == "ui"']
    client, serve, ui = doctor.installation(requirements)
    assert client.good
    assert client.sentence.startswith("numpy ")
    assert serve == Finding("extra serve", False, "lacks no-such-package: pip install 'respin[serve]'")
    assert (ui.topic, ui.good) == ("extra ui", True)


def test_a_broken_client_is_told_to_install_respin():
    assert list(doctor.installation(["no-such-package"])) == [
        Finding("client", False, "lacks no-such-package: pip install 'respin'")
    ]


def test_every_profile_says_what_it_needs(tmp_path):
    found = {each.topic: each for each in doctor.profiles(serving=False, gpus=[], container=tmp_path / "none")}
    assert not any(each.good for each in found.values())
    assert found["profile cpu"].sentence == "needs pip install 'respin[serve]'"
    assert "tensorrt backend" in found["profile tensorrt"].sentence
    assert found["profile tensorrt"].sentence.endswith("and an NVIDIA GPU with 8736 MiB for the published weights")
    assert found["profile onnxruntime"].sentence.endswith("and an NVIDIA GPU")


@pytest.fixture
def container(tmp_path):
    """The folder of the server in the official container."""
    for backend in ("onnxruntime", "tensorrt"):
        (tmp_path / "backends" / backend).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("free_mib", [8736, None], ids=["just enough", "unknown"])
def test_every_profile_runs_where_all_is_there(container, free_mib):
    gpus = [GpuInfo("NVIDIA A6000", "550.90.07", free_mib, free_mib)]
    assert all(each.good for each in doctor.profiles(serving=False, gpus=gpus, container=container))


def test_a_gpu_that_is_too_small_or_too_full_is_named(container):
    gpus = [GpuInfo("NVIDIA A2", "550.90.07", 15356, 8735), GpuInfo("NVIDIA A2", "550.90.07", 15356, 20)]
    found = {each.topic: each for each in doctor.profiles(serving=False, gpus=gpus, container=container)}
    assert found["profile tensorrt"] == Finding(
        "profile tensorrt",
        False,
        "needs 8736 MiB of GPU memory for the published weights, of which 8735 are free",
    )
    assert found["profile onnxruntime"].good


def test_the_cpu_profiles_run_on_the_extra_alone(tmp_path):
    found = doctor.profiles(serving=True, gpus=[], container=tmp_path / "none")
    assert [each.topic for each in found if each.good] == ["profile cpu", "profile local"]


def test_a_port_is_free_or_taken():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        number = listening.getsockname()[1]
        listening.listen()
        assert not doctor.port(number, "gRPC").good
    assert doctor.port(number, "gRPC") == Finding(f"port {number}", True, "free for gRPC")


def test_a_server_is_ready_or_not(triton, nobody):
    with Client(triton.url) as client:
        assert doctor.server(client, triton.url) == Finding("server", True, f"a Respin server is ready at {triton.url}")
        triton.loaded = False
        assert "has not loaded every model" in doctor.server(client, triton.url).sentence
    with Client(nobody, retries=0) as client:
        assert "start one with `respin serve`" in doctor.server(client, nobody).sentence
    with Client(triton.url, tls=TLS(), retries=0) as client:
        assert "does not speak TLS" in doctor.server(client, triton.url).sentence


def test_shared_memory_is_measured(tmp_path):
    *_, there = doctor.machine(tmp_path)
    assert f"MiB free in {tmp_path}" in there.sentence
    *_, missing = doctor.machine(tmp_path / "none")
    assert (missing.topic, missing.good) == ("shared memory", False)


@pytest.mark.parametrize(
    ("script", "good", "sentence"),
    [
        (
            "echo 'NVIDIA A6000, 550.90.07, 49140, 48539'",
            True,
            "NVIDIA A6000, driver 550.90.07, 48539 of 49140 MiB free",
        ),
        ("echo 'NVIDIA GB10, 580.95.05, [N/A], [N/A]'", True, "NVIDIA GB10, driver 580.95.05, memory unknown"),
        ("exit 9", False, "look at the driver"),
        ("echo No devices were found", False, "lists no GPU"),
    ],
    ids=["a GPU", "shared memory", "a broken driver", "none"],
)
def test_the_gpu_is_asked(tmp_path, script, good, sentence):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    found, gpus = doctor.find_gpus(str(program))
    assert bool(gpus) is good
    assert found.good is good
    assert sentence in found.sentence


def test_no_gpu_is_no_error(tmp_path):
    missing = Finding("gpu", False, "no nvidia-smi; the CPU profiles run without")
    assert doctor.find_gpus(str(tmp_path / "nvidia-smi")) == (missing, [])


def test_the_mini_set_is_verified(tmp_path):
    network = tmp_path / "edsr" / "model.onnx"
    network.parent.mkdir()
    network.write_bytes(b"a network")
    record = NetworkFile("edsr/model.onnx", sha256_of(network), 9)
    ModelSet("mini", "fp32", Sizes(), {"edsr": (record,)}).save(tmp_path)
    assert doctor.mini_set(lambda name: tmp_path).good
    network.write_bytes(b"another!!")
    changed = doctor.mini_set(lambda name: tmp_path)
    assert not changed.good
    assert "not the file that the manifest records" in changed.sentence


def test_the_table_comes_and_the_client_alone_is_enough(capsys, nobody):
    with pytest.raises(SystemExit) as leaving:
        main(["doctor", "--url", nobody], entry_points=())
    assert leaving.value.code == 0
    printed = capsys.readouterr().out
    for topic in ("python", "client", "extra serve", "profile cpu", "server", "shared memory", "gpu", "mini set"):
        assert topic in printed


def test_the_server_of_the_environment_is_asked(capsys, monkeypatch, triton):
    monkeypatch.setenv("RESPIN_URL", triton.url)
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["doctor"], entry_points=())
    assert f"a Respin server is ready at {triton.url}" in capsys.readouterr().out
