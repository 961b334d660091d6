"""Options of an embedded server."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from respin.errors import InvalidInput
from respin.profiles import DEFAULT_PROFILE, PROFILES, Profile

LOOPBACK = "127.0.0.1"

START_S, IN_PROCESS_START_S = 120.0, 1800.0
"""Timeouts for loading all models, seconds; with networks in the engine's process, which are loaded one after another
and called before the server is ready."""


@dataclass(frozen=True)
class ServerOptions:
    """How to launch a server.

    Args:
        repository: model repository; every folder in it with a config.pbtxt is loaded.
        profile: value of `--model-config-name`.
        host: IPv4 address or host name to listen on; "0.0.0.0" = all interfaces.
        grpc_port: port of the gRPC API; 0 = a free one, as for the next two.
        http_port: port of the HTTP API, on loopback; None = none. A single malformed request over HTTP ends
            tritonserver 2.51, so it is for programs on this machine that you trust.
        metrics_port: port of the Prometheus metrics.
        exit_timeout_s: how long a stop waits for requests in flight, seconds.
        start_timeout_s: timeout for loading all models, seconds.
        admin_key: gives access to the model-repository, shared-memory, trace and logging APIs; None = a random one.
            Triton accepts it only as an argument: users who can list the processes of this machine can read it.
        log_file: the log is appended to it; None = a file that is deleted when the server stops.
        verbose: whether Triton logs every request.
        extra_arguments: further arguments of tritonserver.
        tls_certificate: PEM file. If given, gRPC uses TLS, and metrics, which cannot, listen on loopback only.
        tls_key: PEM file of the certificate's key.
        tls_client_ca: PEM file; if given, clients must present a certificate signed by it.
        tritonserver: folder into which the nvidia-pytriton wheel was unpacked; None = the installed one.

    Raises:
        InvalidInput: a value is invalid, or two contradict each other.
    """

    repository: Path
    profile: str = DEFAULT_PROFILE
    host: str = LOOPBACK
    grpc_port: int = 8001
    http_port: int | None = None
    metrics_port: int = 8002
    exit_timeout_s: int = 30
    start_timeout_s: float = START_S
    admin_key: str | None = field(default=None, repr=False)
    log_file: Path | None = None
    verbose: bool = False
    extra_arguments: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tritonserver: Path | None = None

    def __post_init__(self) -> None:
        """Validate the options."""
        check_embeddable(profile_by_name(self.profile))
        self._check_ports()
        self._check_files()
        if self.admin_key is not None and not re.fullmatch(r"[\x21-\x7e]{8,}", self.admin_key):
            raise InvalidInput("the admin key must be 8 or more printable ASCII characters without blanks")

    @property
    def metrics_host(self) -> str:
        """The host on which the metrics listen."""
        return LOOPBACK if self.tls_certificate else self.host

    def _check_ports(self) -> None:
        ports = {"gRPC": self.grpc_port, "metrics": self.metrics_port}
        if self.http_port is not None:
            ports["HTTP"] = self.http_port
        for name, port in ports.items():
            if not 0 <= port <= 65535:
                raise InvalidInput(f"{name} port is {port}; choose 1 to 65535, or 0 for a free one")
        chosen = [port for port in ports.values() if port]
        if len(set(chosen)) < len(chosen):
            raise InvalidInput(f"ports {', '.join(map(str, ports.values()))} must be different ones")
        if self.exit_timeout_s < 0:
            raise InvalidInput(f"exit timeout is {self.exit_timeout_s} s; choose 0 or more")

    def _check_files(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise InvalidInput("TLS needs a certificate and its key; give both or neither")
        if self.tls_client_ca and not self.tls_certificate:
            raise InvalidInput("clients can be asked for certificates only over TLS; give the server's own too")
        for path in (self.tls_certificate, self.tls_key, self.tls_client_ca):
            if path and not path.is_file():
                raise InvalidInput(f"'{path}' is not a file; pass a PEM file")
        if self.log_file and not self.log_file.parent.is_dir():
            raise InvalidInput(f"the log file's folder '{self.log_file.parent}' does not exist; create it first")


def profile_by_name(name: str) -> Profile:
    """Return the profile of a name.

    Raises:
        InvalidInput: there is none.
    """
    if name not in PROFILES:
        raise InvalidInput(f"profile is '{name}'; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


def check_embeddable(profile: Profile) -> None:
    """Check that the embedded server has the backend of a profile.

    Raises:
        InvalidInput: the profile needs the official container.
    """
    if profile.network_backend not in (None, "python"):
        raise InvalidInput(
            f"profile '{profile.name}' needs Triton's {profile.network_backend} backend, "
            "which is not in the embedded server; use the container, or profile cpu or local"
        )
