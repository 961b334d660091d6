"""The command line of tritonserver, with the reason for each option that is not obvious."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from respin.errors import InvalidInput
from respin.shared_memory import STUB_MIB
from respin_server.control import ADMIN_HEADER
from respin_server.options import ServerOptions
from respin_server.ports import Endpoint

_SHM_BYTES = STUB_MIB * 2**20

_RESTRICTED_APIS = "model-repository,shared-memory,trace,logging"


def repository_arguments(options: ServerOptions, models: Sequence[str]) -> list[str]:
    """Return the options that select the models."""
    return [
        *("--model-repository", str(options.repository)),
        *("--model-config-name", options.profile),
        # Auto-completion starts a second stub per model, four times slower. A folder without config is an error.
        "--disable-auto-complete-config",
        # Lets an operator load models again.
        *("--model-control-mode", "explicit"),
        *(part for model in models for part in ("--load-model", model)),
        # One stub for each core at a time: one that takes ten seconds to start ends the server (boost's
        # lock_exception), as 13 at once do on a machine that is busy with other things.
        *("--model-load-thread-count", str(len(os.sched_getaffinity(0)))),
        *("--exit-on-error", "true"),
    ]


def network_arguments(
    options: ServerOptions, endpoints: Mapping[str, Endpoint], http_socket: Path, admin_key: str
) -> list[str]:
    """Return the options for endpoints, TLS and restricted APIs.

    Args:
        options: options of the server.
        endpoints: endpoints by service; without "HTTP", the HTTP API listens on a Unix socket only.
        http_socket: path of that socket.
        admin_key: the key that opens the restricted APIs.
    """
    arguments = []
    for service, flag in (("gRPC", "grpc"), ("HTTP", "http"), ("metrics", "metrics")):
        if service in endpoints:
            endpoint = endpoints[service]
            arguments += [f"--{flag}-address", endpoint.host, f"--{flag}-port", str(endpoint.port)]
    if "HTTP" not in endpoints:
        # A prefix of libevhtp, Triton's HTTP library; the port then has no meaning.
        arguments += ["--http-address", f"unix:{http_socket}"]
    restriction = f"{_RESTRICTED_APIS}:{ADMIN_HEADER}={admin_key}"
    arguments += ["--grpc-restricted-protocol", restriction, "--http-restricted-api", restriction]
    if options.tls_certificate and options.tls_key:
        arguments += ["--grpc-use-ssl", "true", "--grpc-server-cert", str(options.tls_certificate)]
        arguments += ["--grpc-server-key", str(options.tls_key)]
    if options.tls_client_ca:
        arguments += ["--grpc-use-ssl-mutual", "true", "--grpc-root-cert", str(options.tls_client_ca)]
    return arguments


def process_arguments(options: ServerOptions, shm_prefix: str) -> list[str]:
    """Return the options for logging, shutdown and the Python backend."""
    return [
        *("--exit-timeout-secs", str(options.exit_timeout_s)),
        *("--log-verbose", "1" if options.verbose else "0"),
        *("--backend-config", f"python,shm-default-byte-size={_SHM_BYTES}"),
        *("--backend-config", f"python,shm-growth-byte-size={_SHM_BYTES}"),
        # Names in /dev/shm are global, so two servers must not share a prefix.
        *("--backend-config", f"python,shm-region-prefix-name={shm_prefix}"),
        *([] if _has_gpu() else ["--allow-gpu-metrics", "false"]),
    ]


def _has_gpu() -> bool:
    return Path("/dev/nvidiactl").exists()


def model_names(repository: Path) -> tuple[str, ...]:
    """Return the models of a repository: its folders with a config.pbtxt.

    Raises:
        InvalidInput: there are none.
    """
    names = tuple(sorted(config.parent.name for config in repository.glob("*/config.pbtxt")))
    if not names:
        raise InvalidInput(f"'{repository}' contains no models; pass a folder made by `respin assemble`")
    return names
