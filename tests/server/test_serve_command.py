"""`respin serve` and `respin assemble`, as an operator runs them."""

import os
import signal
import socket
import subprocess
import sys
from importlib.metadata import EntryPoint

import psutil
import pytest
from tritonclient import grpc as triton

from respin_client.command import main
from respin_server.assemble import Assembled

COMMANDS = [EntryPoint(name, f"respin_server.commands:{name}", "respin.commands") for name in ("serve", "assemble")]
RUN = """
import sys
from importlib.metadata import EntryPoint
from respin_client.command import main
main(sys.argv[1:], [EntryPoint("serve", "respin_server.commands:serve", "respin.commands")])
"""
FREE_PORTS = ["--grpc-port", "0", "--metrics-port", "0", "--exit-timeout-s", "5"]


@pytest.fixture
def respin(capfd):
    """Run `respin` here: (exit code, what it said)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main(list(map(str, arguments)), COMMANDS)
        said = capfd.readouterr()
        return end.value.code or 0, said.out + said.err

    return run


@pytest.fixture
def served(tmp_path, add_model):
    """A repository of one tiny model that looks assembled."""
    folder = tmp_path / "served"
    add_model(folder, "echo")
    Assembled("cpu", "tiny", ("tiny: knows echoes", "edsr is not trained")).save(folder)
    return folder


@pytest.fixture
def launched(served, tmp_path):
    """`respin serve` in a process of its own, not ready yet."""
    (tmp_path / "temporary").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", RUN, "serve", "--repository", str(served), *FREE_PORTS, "--restarts", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def serving(launched):
    """The same, ready: (process, its lines so far)."""
    lines = []
    for line in launched.stdout:
        lines.append(line.strip())
        if line.startswith("Ctrl-C"):
            break
    return launched, lines


@pytest.mark.triton
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_what_it_serves_and_stops_when_asked(serving, tmp_path, number):
    process, lines = serving
    facts = dict(line.split(maxsplit=1) for line in lines)
    assert lines[0].startswith("ready in ")
    assert facts["gRPC"].startswith("127.0.0.1:")
    assert "HTTP" not in facts
    assert facts["profile"] == "cpu"
    assert facts["set"] == "tiny"
    assert facts["note"] == "tiny: knows echoes; edsr is not trained"
    assert facts["log"].endswith("server.log")
    process.send_signal(number)
    out, error = process.communicate(timeout=30)
    assert out.splitlines()[-1] == "stopped"
    assert error == ""
    assert process.returncode == 0
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.triton
def test_it_lists_the_addresses_of_this_machine_if_it_listens_on_all(served):
    show = [sys.executable, "-c", "import os; print('RESPIN_URL', os.environ['RESPIN_URL'])"]
    serve = [sys.executable, "-c", RUN, "serve", "--repository", str(served), *FREE_PORTS, "--host", "0.0.0.0"]
    said = subprocess.run([*serve, "--", *show], capture_output=True, text=True, check=True).stdout
    facts = dict(line.split(maxsplit=1) for line in said.splitlines() if " " in line)
    listens, _, addresses = facts["gRPC"].partition(" = ")
    port = listens.removeprefix("0.0.0.0:")
    mine = {each.address for all in psutil.net_if_addrs().values() for each in all if each.family == socket.AF_INET}
    assert addresses.split(", ")[0] == facts["RESPIN_URL"] == f"127.0.0.1:{port}"
    assert set(addresses.split(", ")) <= {f"{address}:{port}" for address in mine}
    assert facts["metrics"].startswith("0.0.0.0:")


@pytest.fixture
def slow(served, add_model):
    add_model(served, "slow", "import time; time.sleep(600)")


@pytest.mark.triton
def test_it_stops_when_asked_before_it_is_ready(slow, launched, eventually):
    eventually(lambda: psutil.Process(launched.pid).children(recursive=True)[1:], "a stub is loading its model")
    launched.terminate()
    out, error = launched.communicate(timeout=30)
    assert out.splitlines()[-1] == "stopped before the server was ready"
    assert error == ""
    assert launched.returncode == 0


def triton_of(process):
    return next(each for each in psutil.Process(process.pid).children() if each.name() == "tritonserver")


@pytest.mark.triton
def test_a_server_that_dies_is_back_on_its_ports_until_it_has_died_too_often(serving, tmp_path, is_gone):
    process, lines = serving
    url = next(line.split()[1] for line in lines if line.startswith("gRPC"))
    for victim in ("server", "stub"):
        server = triton_of(process)
        stubs = server.children()
        os.kill(server.pid if victim == "server" else stubs[0].pid, signal.SIGKILL)
        died = {"server": "tritonserver was killed by signal 9", "stub": "a process of model 'echo' has died"}[victim]
        assert f"{died}; restarting the server" in process.stdout.readline()
        assert process.stdout.readline().startswith("ready again in ")
        assert all(is_gone(each.pid) for each in (server, *stubs))
        with triton.InferenceServerClient(url) as client:
            assert client.is_model_ready("echo")
    triton_of(process).kill()
    _, error = process.communicate(timeout=30)
    assert "tritonserver was killed by signal 9" in error
    assert "restarted 2 times" in error
    assert "Traceback" not in error
    assert process.returncode == 1
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.triton
def test_a_server_that_waits_for_its_next_restart_stops_when_asked(serving):
    process, _ = serving
    for _ in range(2):
        triton_of(process).kill()
        line = process.stdout.readline()
        if " in 1 s" in line:
            break
        process.stdout.readline()
    process.terminate()
    out, error = process.communicate(timeout=30)
    assert out.splitlines()[-1].startswith("stopped")
    assert (error, process.returncode) == ("", 0)


@pytest.mark.triton
def test_a_command_runs_beside_the_server_and_ends_it_with_its_own_code(respin, served):
    asks = (
        "import os, sys; from tritonclient.grpc import InferenceServerClient as Client; "
        "sys.exit(7 if Client(os.environ['RESPIN_URL']).is_server_ready() else 1)"
    )
    code, said = respin("serve", "--repository", served, *FREE_PORTS, "--", sys.executable, "-c", asks)
    assert code == 7
    assert said.endswith("stopped\n")


@pytest.mark.triton
def test_a_command_that_is_no_program_ends_it_with_2(respin, served):
    code, said = respin("serve", "--repository", served, *FREE_PORTS, "--", "no-such-program")
    assert code == 2
    assert "cannot run 'no-such-program'" in said


def test_a_model_that_does_not_load_ends_it_with_one_sentence(respin, served, add_model):
    add_model(served, "broken", "import no_such_module")
    code, said = respin("serve", "--repository", served, *FREE_PORTS)
    assert code == 1
    assert "model 'broken' could not be loaded" in said


def test_the_callers_mistakes_end_it_with_2(respin, served, tmp_path):
    for arguments, sentence in [
        (["--profile", "gpu"], "choose one of cpu, local"),
        (["--profile", "tensorrt"], "not in the embedded server; use the container"),
        (["--profile", "onnxruntime"], "not in the embedded server; use the container"),
        (["--models", tmp_path], "no manifest.json"),
        (["--repository", tmp_path], "was not made by `respin assemble`"),
        (["--repository", served, "--profile", "local"], "assembled already, for profile cpu"),
        (["--repository", served, "--models", tmp_path], "assembled already"),
        (["--repository", served, "--runtime", "torch"], "assembled already"),
        (["--profile", "cpu", "--runtime", "torch"], "use --profile local, or leave --profile out"),
        (["--runtime", "openvino"], "choose one of onnxruntime, tensorrt, torch, or auto"),
        (["--device", "cpu", "--runtime", "tensorrt"], "runtime 'tensorrt' does not run on device 'cpu'"),
        (["--device", "cpu", "--gpu-memory-mib", "9000"], "the networks run on the CPU; leave it out"),
        (["--models", tmp_path, "--weights", tmp_path], "give one of them"),
        (["--repository", served, "--grpc-port", "70000"], "gRPC port is 70000; choose 1 to 65535"),
        (["--repository", served, "--grpc-port", "8002"], "must be different ones"),
        (["--repository", served, "--admin-key-file", tmp_path / "none"], "cannot be read"),
        (["--repository", served, "--log-file", tmp_path / "none" / "log"], "create it first"),
    ]:
        code, said = respin("serve", *arguments)
        assert code == 2, said
        assert sentence in said


def test_a_taken_port_ends_it_with_2(respin, served):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code, said = respin("serve", "--repository", served, *FREE_PORTS, "--http-port", port)
    assert code == 2
    assert f"HTTP port {port} on 127.0.0.1 is already in use" in said


@pytest.mark.parametrize("missing", ["psutil", "pytriton"])
def test_without_the_extra_one_sentence_says_what_to_install(served, missing):
    without = f"import sys; sys.modules[{missing!r}] = None\n{RUN}"
    ran = subprocess.run(
        [sys.executable, "-c", without, "serve", "--repository", str(served)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert ran.stderr == "respin: the embedded server is not installed; pip install 'respin[serve]'\n"


def test_the_commands_import_nothing_that_the_extra_brings():
    script = (
        "import sys, respin_server.commands; "
        "print({'psutil', 'pytriton', 'onnxruntime', 'cv2', 'tokenizers', 'tritonclient', 'grpc'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "set()"


def test_help_shows_how_it_is_used(respin):
    for command, example in (("serve", "respin serve --host 0.0.0.0"), ("assemble", "--profile tensorrt")):
        code, said = respin(command, "--help")
        assert code == 0
        assert example in said


def test_assemble_refuses_what_it_cannot_lay_out(respin, tmp_path):
    assert respin("assemble", tmp_path / "served", "--profile", "gpu") == (
        2,
        "respin: profile is 'gpu'; choose one of cpu, local, onnxruntime, tensorrt\n",
    )
    code, said = respin("assemble", tmp_path / "served", "--models", tmp_path)
    assert (code, "no manifest.json" in said) == (2, True)
