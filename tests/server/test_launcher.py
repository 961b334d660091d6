"""The embedded server, from start to stop."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys

import psutil
import pytest
from tritonclient import grpc as triton

from respin.errors import InternalError, InvalidInput
from respin_server.leftovers import SHARED_MEMORY
from respin_server.stubs import living_instances

pytestmark = pytest.mark.triton

KEY = "open-sesame"


@pytest.fixture(scope="module")
def repository(tmp_path_factory, add_model):
    folder = tmp_path_factory.mktemp("repository")
    add_model(folder, "echo")
    return folder


@pytest.fixture(scope="module")
def server(repository, embedded):
    with embedded(repository, admin_key=KEY, http_port=0) as running:
        yield running


def regions(server):
    return list(SHARED_MEMORY.glob(f"{server.shm_prefix}*"))


def status_of(server, method, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.endpoints["HTTP"].port, timeout=20)
    connection.request(method, path, headers={**headers, "Connection": "close"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_started_server_answers(server, echoed):
    assert echoed(server, 42.0) == 42.0


def test_two_servers_run_side_by_side(server, repository, embedded, echoed):
    with embedded(repository) as second:
        ports = [each.port for one in (server, second) for each in one.endpoints.values()]
        assert len(set(ports)) == 5
        assert (echoed(server, 1.0), echoed(second, 2.0)) == (1.0, 2.0)
    assert echoed(server, 3.0) == 3.0


def test_a_stopped_server_leaves_nothing(repository, embedded, is_gone, eventually):
    with embedded(repository) as server:
        folder = server.log_file.parent
        pids = [server.pid, *living_instances(server.pid).values()]
        assert len(pids) == 2
        assert regions(server)
        assert folder.is_dir()
    for pid in pids:
        eventually(lambda pid=pid: is_gone(pid), "a process of the stopped server has ended")
    assert not regions(server)
    assert not folder.exists()


def test_nothing_listens_beyond_loopback(server):
    listening = [
        each.laddr for each in psutil.Process(server.pid).net_connections("inet") if each.status == psutil.CONN_LISTEN
    ]
    # gRPC listens through IPv6's name for the same address.
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    assert {address.port for address in listening} == {endpoint.port for endpoint in server.endpoints.values()}


def test_the_admin_apis_are_closed_without_the_key_and_open_with_it(server):
    with triton.InferenceServerClient(str(server.endpoints["gRPC"])) as client:
        with pytest.raises(triton.InferenceServerException, match="restricted"):
            client.get_model_repository_index()
        with pytest.raises(triton.InferenceServerException, match="restricted"):
            client.get_model_repository_index(headers={"triton-grpc-protocol-admin-key": "another-key"})
        index = client.get_model_repository_index(headers={"triton-grpc-protocol-admin-key": KEY})
    assert [model.name for model in index.models] == ["echo"]
    assert status_of(server, "POST", "/v2/repository/models/echo/unload") == 403
    assert status_of(server, "POST", "/v2/repository/index", **{"admin-key": KEY}) == 200


def test_statistics_and_configs_stay_open(server):
    with triton.InferenceServerClient(str(server.endpoints["gRPC"])) as client:
        assert client.get_inference_statistics("echo").model_stats[0].name == "echo"
        assert client.get_model_config("echo").config.name == "echo"


def test_a_taken_port_is_named_before_anything_is_launched(server, repository, embedded):
    taken = server.endpoints["gRPC"].port
    refused = embedded(repository, grpc_port=taken)
    with pytest.raises(InvalidInput, match=f"gRPC port {taken} on 127.0.0.1 is already in use"):
        refused.start()
    assert not refused.is_running()


def test_a_broken_model_is_named_with_its_reason_and_nothing_stays(tmp_path, add_model, embedded):
    add_model(tmp_path, "echo")
    add_model(tmp_path, "broken", "import no_such_module")
    server = embedded(tmp_path)
    with pytest.raises(InternalError, match=r"model 'broken' .*No module named 'no_such_module'") as refusal:
        server.start()
    assert len(str(refusal.value).splitlines()) <= 3
    assert not server.is_running()
    assert not regions(server)


def test_a_model_that_never_gets_ready_is_named(tmp_path, add_model, embedded):
    add_model(tmp_path, "slow", "import time; time.sleep(600)")
    server = embedded(tmp_path, start_timeout_s=0.5)
    with pytest.raises(InternalError, match=r"not ready within 0\.5 s, still loading slow"):
        server.start()
    assert not server.is_running()


def test_progress_may_break_off_the_start(tmp_path, add_model, embedded):
    add_model(tmp_path, "slow", "import time; time.sleep(600)")
    seen = []

    def refuse(loaded, models, network):
        seen.append((loaded, models, network))
        raise KeyboardInterrupt

    server = embedded(tmp_path, refuse)
    with pytest.raises(KeyboardInterrupt):
        server.start()
    assert seen == [(0, 1, "")]
    assert not server.is_running()


@contextlib.contextmanager
def another_launcher(repository, temporary):
    """Another process that has launched a server: (process, server's pid, shm prefix)."""
    script = """
import sys, time
from pathlib import Path
from respin_server.launcher import EmbeddedTriton, ServerOptions
from respin_server.leftovers import temporary_folder
temporary_folder()  # as `respin serve` has for its repository
server = EmbeddedTriton(ServerOptions(Path(sys.argv[1]), grpc_port=0, metrics_port=0))
server.start()
print(server.pid, server.shm_prefix, flush=True)
time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(repository)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as process:
        pid, prefix = process.stdout.readline().split()
        yield process, int(pid), prefix
        process.kill()


@pytest.fixture
def launcher(repository, tmp_path):
    with another_launcher(repository, tmp_path) as launched:
        yield launched


def test_a_killed_launcher_takes_its_processes_along_and_leaves_nothing(launcher, tmp_path, is_gone, eventually):
    process, pid, prefix = launcher
    stubs = living_instances(pid).values()
    # A stub that is stopped, or hangs, does not notice the end of its server.
    for stub in stubs:
        os.kill(stub, signal.SIGSTOP)
    process.kill()
    for each in (pid, *stubs):
        eventually(lambda each=each: is_gone(each), "the dead launcher's processes have ended")
    eventually(lambda: not list(SHARED_MEMORY.glob(f"{prefix}*")), "its regions are gone")
    eventually(lambda: not list(tmp_path.glob("respin_*")), "its temporary folders are gone")


def test_what_a_launcher_left_that_was_killed_with_its_guard_is_swept_by_the_next_one(
    launcher, repository, tmp_path, is_gone, eventually
):
    process, pid, prefix = launcher
    guard = next(each for each in psutil.Process(process.pid).children() if "guard.py" in " ".join(each.cmdline()))
    guard.kill()
    # A stub removes its own region when it sees its server gone, unless it dies first.
    for stub in living_instances(pid).values():
        os.kill(stub, signal.SIGKILL)
    process.kill()
    process.wait()
    eventually(lambda: is_gone(pid), "the dead launcher's server has ended")
    assert list(SHARED_MEMORY.glob(f"{prefix}*"))
    assert list(tmp_path.glob("respin_*"))
    with another_launcher(repository, tmp_path):
        assert not list(SHARED_MEMORY.glob(f"{prefix}*"))
        assert len(list(tmp_path.glob("respin_*"))) == 2, "those of the new one"


def test_regions_and_log_are_for_this_user_only(server):
    for path in (*regions(server), server.log_file):
        assert path.stat().st_mode & 0o077 == 0, path


def test_http_is_closed_unless_a_port_is_asked_for(repository, embedded, echoed, eventually):
    def listening():
        connections = psutil.Process(server.pid).net_connections("inet")
        return {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}

    with embedded(repository) as server:
        assert set(server.endpoints) == {"gRPC", "metrics"}
        wanted = {endpoint.port for endpoint in server.endpoints.values()}
        # Triton opens the port of the metrics last, after its gRPC port has said that it is ready.
        eventually(lambda: wanted <= listening(), "both ports listen")
        assert listening() == wanted
        assert echoed(server, 8.0) == 8.0


def test_http_listens_on_loopback_whatever_the_host(repository, embedded):
    with embedded(repository, host="0.0.0.0", http_port=0) as server:
        assert server.endpoints["HTTP"].host == "127.0.0.1"


def test_a_restarted_server_answers_on_the_same_ports(repository, embedded, echoed, reload, is_gone):
    with embedded(repository) as server:
        assert echoed(server, 1.0) == 1.0
        # A stub of a reloaded model inherits the sockets of its server, and must not keep the port.
        reload(server)
        before = [server.pid, *living_instances(server.pid).values()]
        os.kill(server.pid, signal.SIGSEGV)
        server.restart()
        assert all(is_gone(pid) for pid in before)
        assert len(regions(server)) == 1
        assert echoed(server, 2.0) == 2.0


def test_a_server_that_does_not_stop_is_killed(repository, embedded, is_gone, eventually):
    server = embedded(repository, exit_timeout_s=0)
    server.start()
    pids = [server.pid, *living_instances(server.pid).values()]
    os.kill(server.pid, signal.SIGSTOP)
    server.stop()
    server.stop()
    for pid in pids:
        eventually(lambda pid=pid: is_gone(pid), "the hung server's processes have ended")
    assert not regions(server)


def test_over_tls_grpc_is_encrypted_and_the_rest_stays_on_loopback(repository, embedded, echoed, tmp_path):
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*make.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    with embedded(repository, host="0.0.0.0", tls_certificate=certificate, tls_key=key) as server:
        assert {name: server.endpoints[name].host for name in server.endpoints} == {
            "gRPC": "0.0.0.0",
            "metrics": "127.0.0.1",
        }
        assert echoed(server, 5.0, ssl=True, root_certificates=str(certificate)) == 5.0
        with pytest.raises(triton.InferenceServerException, match="UNAVAILABLE"):
            echoed(server, 5.0)
