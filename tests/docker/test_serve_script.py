"""docker/serve.sh, outside a container: what the server images run."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.model_set import ModelSet, records_of
from respin.profiles import PROFILES
from respin_client import canary
from respin_server.assemble import assemble
from respin_server.wheel import TritonWheel

SCRIPT = Path(__file__).parents[2] / "docker/serve.sh"
WAIT_S = 100


@pytest.fixture
def environment(tmp_path):
    """Variables with which the script finds `respin`, as in an image, and free ports."""
    (tmp_path / "bin").mkdir()
    respin = tmp_path / "bin" / "respin"
    respin.write_text(f'#!/bin/sh\nexec {sys.executable} -m respin_client "$@"\n')
    respin.chmod(0o755)
    path = f"{respin.parent}{os.pathsep}{os.environ['PATH']}"
    ports = {"RESPIN_GRPC_PORT": "0", "RESPIN_METRICS_PORT": "0"}
    return {**os.environ, **ports, "PATH": path, "RESPIN_REPOSITORY": str(tmp_path / "served")}


@pytest.fixture
def recorded(tmp_path, environment):
    """A program in place of tritonserver that writes down its arguments: run the script, get (exit code, arguments)."""
    arguments, program = tmp_path / "arguments.json", tmp_path / "tritonserver"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\njson.dump(sys.argv[1:], open({str(arguments)!r}, 'w'))\n"
    )
    program.chmod(0o755)

    def run(*words, **variables):
        variables = {**environment, "TRITONSERVER": str(program), **variables}
        done = subprocess.run(
            [SCRIPT, *words], env=variables, capture_output=True, text=True, timeout=WAIT_S, check=False
        )
        return done, json.loads(arguments.read_text()) if arguments.exists() else []

    return run


@pytest.fixture
def engines(tmp_path):
    """A set of engines, whose files are none."""
    folder, records = tmp_path / "full-fp16-tensorrt", {}
    for name in NETWORKS:
        (folder / name).mkdir(parents=True)
        (folder / name / "model.plan").write_text(name)
        records[name] = records_of(folder, folder / name / "model.plan")
    replace(ModelSet.load(bundled_path("models/mini")), name="full-fp16-tensorrt", networks=records).save(folder)
    return folder


@pytest.mark.triton
def test_the_mini_set_is_served_until_the_container_is_stopped(environment):
    with subprocess.Popen([SCRIPT], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            facts = {}
            for line in process.stdout:
                name, _, fact = line.partition(" ")
                facts[name] = fact.strip()
                if name == "Ctrl-C":
                    break
            assert facts["set"] == "mini"
            assert facts["profile"] == "cpu"
            port = re.match(r"0\.0\.0\.0:(\d+)", facts["gRPC"])[1]
            assert canary.main({"RESPIN_URL": f"127.0.0.1:{port}"}) == 0
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()


def test_engines_are_served_by_the_triton_of_the_image(recorded, engines, environment):
    done, arguments = recorded("--log-verbose", "1", RESPIN_PROFILE="tensorrt", RESPIN_MODELS=str(engines))
    assert done.returncode == 0, done.stderr
    repository = Path(environment["RESPIN_REPOSITORY"])
    assert (repository / "zero123_unet/1/model.plan").read_text() == "zero123_unet"
    options = dict(zip(arguments[:4:2], arguments[1:4:2], strict=True))
    assert options == {"--model-repository": str(repository), "--model-config-name": "tensorrt"}
    assert arguments[-2:] == ["--log-verbose", "1"]
    assert arguments[arguments.index("--allow-http") + 1] == "false"


def test_the_administrative_apis_have_another_key_each_time(recorded, engines):
    keys = set()
    for _ in range(2):
        _, arguments = recorded(RESPIN_PROFILE="tensorrt", RESPIN_MODELS=str(engines))
        apis, _, key = arguments[arguments.index("--grpc-restricted-protocol") + 1].partition(":admin-key=")
        assert apis == "model-repository,shared-memory,trace,logging"
        assert len(key) == 64
        keys.add(key)
    assert len(keys) == 2


@pytest.mark.triton
def test_tritonserver_takes_every_argument_of_the_script(recorded, engines, tmp_path):
    """By the embedded server, on the profile that it has a backend for."""
    _, arguments = recorded(RESPIN_PROFILE="tensorrt", RESPIN_MODELS=str(engines))
    local = tmp_path / "local"
    assemble(bundled_path("model_repository"), bundled_path("models/mini"), PROFILES["local"], local)
    port, metrics_port = free_ports(2)
    for option, value in {
        "--model-repository": local,
        "--model-config-name": "local",
        "--grpc-port": port,
        "--metrics-port": metrics_port,
    }.items():
        arguments[arguments.index(option) + 1] = str(value)
    wheel = TritonWheel.installed()
    wheel.link_backends(tmp_path / "backends")
    command = [wheel.binary, "--backend-directory", tmp_path / "backends", *arguments, "--allow-gpu-metrics", "false"]
    log = tmp_path / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(list(map(str, command)), env=wheel.environment(), stdout=file, stderr=file) as process,
    ):
        try:
            await_service(process, log)
            assert canary.main({"RESPIN_URL": f"127.0.0.1:{port}"}) == 0
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(WAIT_S)


def free_ports(count):
    """Ports that nobody has; others could take them before they are used."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def await_service(process, log):
    """Wait until tritonserver says in its log that it serves."""
    for _ in range(int(WAIT_S / 0.1)):
        if "Started GRPCInferenceService" in log.read_text():
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
        assert process.poll() is None, log.read_text()[-2000:]
    raise AssertionError(log.read_text()[-2000:])


def test_the_image_without_triton_says_which_has_it(environment, tmp_path):
    variables = {**environment, "RESPIN_PROFILE": "tensorrt", "TRITONSERVER": str(tmp_path / "nothing")}
    done = subprocess.run([SCRIPT], env=variables, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 2
    assert "profile 'tensorrt' needs NVIDIA's Triton image" in done.stderr


def test_a_profile_that_does_not_exist_is_refused(environment):
    variables = {**environment, "RESPIN_PROFILE": "gpu"}
    done = subprocess.run([SCRIPT], env=variables, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "serve.sh: RESPIN_PROFILE is 'gpu'; choose cpu, local, onnxruntime or tensorrt\n"


def test_a_set_of_the_wrong_files_is_not_served(recorded):
    done, arguments = recorded(RESPIN_PROFILE="tensorrt")
    assert done.returncode == 2
    assert "set 'mini' holds" in done.stderr
    assert arguments == []
