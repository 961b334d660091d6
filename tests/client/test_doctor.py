"""`respin doctor` in plain sentences."""

from __future__ import annotations

import socket

import pytest

from respin.model_set import ModelSet, NetworkFile, Sizes, sha256_of
from respin_client import doctor
from respin_client.command import main
from respin_client.doctor import Finding


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
    found = {each.topic: each for each in doctor.profiles(serving=False, graphics=False, container=tmp_path / "none")}
    assert not any(each.good for each in found.values())
    assert found["profile cpu"].sentence == "needs pip install 'respin[serve]'"
    assert "tensorrt backend" in found["profile tensorrt"].sentence
    assert found["profile tensorrt"].sentence.endswith("and an NVIDIA GPU")


def test_every_profile_runs_where_all_is_there(tmp_path):
    for backend in ("onnxruntime", "tensorrt"):
        (tmp_path / "backends" / backend).mkdir(parents=True)
    assert all(each.good for each in doctor.profiles(serving=False, graphics=True, container=tmp_path))


def test_the_cpu_profiles_run_on_the_extra_alone(tmp_path):
    found = doctor.profiles(serving=True, graphics=False, container=tmp_path / "none")
    assert [each.topic for each in found if each.good] == ["profile cpu", "profile local"]


def test_a_port_is_free_or_taken():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        number = listening.getsockname()[1]
        listening.listen()
        assert not doctor.port(number, "gRPC").good
    assert doctor.port(number, "gRPC") == Finding(f"port {number}", True, "free for gRPC")


def test_a_server_is_ready_or_not(triton, nobody):
    assert doctor.server(triton.url) == Finding("server", True, f"a Respin server is ready at {triton.url}")
    assert "start one with `respin serve`" in doctor.server(nobody).sentence


def test_shared_memory_is_measured(tmp_path):
    *_, there = doctor.machine(tmp_path)
    assert f"MiB free in {tmp_path}" in there.sentence
    *_, missing = doctor.machine(tmp_path / "none")
    assert (missing.topic, missing.good) == ("shared memory", False)


@pytest.mark.parametrize(
    ("script", "good", "sentence"),
    [("echo 'NVIDIA A6000, 49140 MiB'", True, "NVIDIA A6000, 49140 MiB"), ("exit 9", False, "look at the driver")],
    ids=["a GPU", "a broken driver"],
)
def test_the_gpu_is_asked(tmp_path, script, good, sentence):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    found = doctor.gpu(str(program))
    assert found.good is good
    assert sentence in found.sentence


def test_no_gpu_is_no_error(tmp_path):
    assert doctor.gpu(str(tmp_path / "nvidia-smi")) == Finding(
        "gpu", False, "no nvidia-smi; the CPU profiles run without"
    )


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
