"""What a server may be told, and the ports that it gets."""

import os
import socket
from itertools import pairwise

import pytest

from respin.errors import InvalidInput
from respin_server.arguments import network_arguments, process_arguments, repository_arguments
from respin_server.launcher import EmbeddedTriton, ServerOptions
from respin_server.ports import Endpoint, pick_endpoints


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"profile": "gpu"}, "profile is 'gpu'; choose one of cpu, local, onnxruntime, tensorrt"),
        ({"profile": "tensorrt"}, "needs Triton's tensorrt backend, which is not in the embedded server"),
        ({"profile": "onnxruntime"}, "use the container"),
        ({"grpc_port": 70000}, "gRPC port is 70000; choose 1 to 65535"),
        ({"http_port": -1}, "HTTP port is -1"),
        ({"grpc_port": 8002}, "ports 8002, 8002 must be different ones"),
        ({"http_port": 8001}, "ports 8001, 8002, 8001 must be different ones"),
        ({"exit_timeout_s": -1}, "exit timeout is -1 s"),
        ({"admin_key": "short"}, "8 or more printable"),
        ({"admin_key": "with a blank"}, "without blanks"),
        ({"log_file": "/no/such/folder/server.log"}, "does not exist; create it first"),
        ({"tls_certificate": "server.pem"}, "TLS needs a certificate and its key"),
        ({"tls_client_ca": "ca.pem"}, "only over TLS"),
        ({"tls_certificate": "no.pem", "tls_key": "no.key"}, r"'no\.pem' is not a file"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_served_is_refused_in_words(tmp_path, wrong, sentence):
    paths = {name: tmp_path.__class__(value) for name, value in wrong.items() if name.startswith(("log_", "tls_"))}
    with pytest.raises(InvalidInput, match=sentence):
        ServerOptions(tmp_path, **{**wrong, **paths})


def test_a_repository_without_models_is_refused(tmp_path):
    (tmp_path / "notes").mkdir()
    with pytest.raises(InvalidInput, match="contains no models"):
        EmbeddedTriton(ServerOptions(tmp_path))


def test_the_admin_key_is_random_and_stays_out_of_the_options_text(tmp_path, add_model):
    add_model(tmp_path, "echo")
    keys = {EmbeddedTriton(ServerOptions(tmp_path)).admin_key for _ in range(3)}
    assert len(keys) == 3
    assert "open-sesame" not in repr(ServerOptions(tmp_path, admin_key="open-sesame"))


def test_free_ports_are_three_different_ones():
    endpoints = pick_endpoints({name: ("127.0.0.1", 0) for name in ("gRPC", "HTTP", "metrics")})
    assert len({endpoint.port for endpoint in endpoints.values()}) == 3


def test_a_port_that_something_listens_on_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"HTTP port {port} on 127.0.0.1 is already in use"):
            pick_endpoints({"HTTP": ("127.0.0.1", port)})


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(InvalidInput, match="use an address of this machine"):
        pick_endpoints({"gRPC": ("192.0.2.1", 0)})  # TEST-NET-1: no machine has it (RFC 5737)


def test_a_server_that_listens_everywhere_is_called_over_loopback():
    assert str(Endpoint("0.0.0.0", 8001)) == "127.0.0.1:8001"


def test_the_command_line_says_what_the_options_say(tmp_path):
    options = ServerOptions(tmp_path, "local", verbose=True, exit_timeout_s=3)
    endpoints = {name: Endpoint("127.0.0.1", port) for name, port in (("gRPC", 1), ("HTTP", 2), ("metrics", 3))}
    arguments = [
        *repository_arguments(options, ["a", "b"]),
        *network_arguments(options, endpoints, tmp_path / "http", "open-sesame"),
        *process_arguments(options, "respin_1_"),
    ]
    pairs = list(pairwise(arguments))
    for pair in [
        ("--model-config-name", "local"),
        ("--load-model", "a"),
        ("--load-model", "b"),
        ("--model-load-thread-count", str(len(os.sched_getaffinity(0)))),
        ("--grpc-port", "1"),
        ("--http-address", "127.0.0.1"),
        ("--metrics-port", "3"),
        ("--http-restricted-api", "model-repository,shared-memory,trace,logging:admin-key=open-sesame"),
        ("--exit-timeout-secs", "3"),
        ("--log-verbose", "1"),
        ("--backend-config", "python,shm-region-prefix-name=respin_1_"),
    ]:
        assert pair in pairs
    assert not [argument for argument in arguments if "ssl" in argument]
