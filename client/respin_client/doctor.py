"""`respin doctor`: check the installation, the machine and the server."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from respin.bundled import bundled_path
from respin.contracts import JOBS, NETWORKS
from respin.errors import RespinError
from respin.model_set import ModelSet
from respin.profiles import PROFILES, Profile
from respin.shared_memory import needed_mib
from respin_client.client import Client
from respin_client.flags import CONNECTION_FLAGS, client_from_flags, with_flags

BASE = "client"
"""Name of the installation without extras."""

PORTS = {8001: "gRPC", 8002: "metrics"}
"""Triton's default ports."""

TRITON_CONTAINER = Path("/opt/tritonserver")
"""Folder of the server and its backends in the official container."""

SHARED_MEMORY = Path("/dev/shm")
"""Mount point of the shared memory through which Triton and its Python models exchange tensors."""

LEAST_SHARED_MEMORY_MIB = needed_mib([*NETWORKS, *JOBS])
"""Free shared memory that `respin serve` needs with its default profile, MiB."""


GPU_NEEDS_MIB = {"tensorrt": 8736}
"""GPU memory of one instance of each published network, beside a CUDA context, MiB; for the profiles where it is known
(docs/parity.md)."""


@dataclass(frozen=True)
class Finding:
    """One row of the report: the subject, whether it meets the needs of a job, and a sentence about it."""

    topic: str
    good: bool
    sentence: str


@dataclass(frozen=True)
class GpuInfo:
    """A GPU as nvidia-smi describes it.

    Args:
        name: product name.
        driver: version of the driver.
        total_mib: memory, MiB; None = nvidia-smi does not know, as where CPU and GPU share it.
        free_mib: memory that no process holds, MiB.
    """

    name: str
    driver: str
    total_mib: int | None
    free_mib: int | None

    def __str__(self) -> str:
        """Return name, driver and memory in words."""
        memory = f"{self.free_mib} of {self.total_mib} MiB free" if self.total_mib else "memory unknown"
        return f"{self.name}, driver {self.driver}, {memory}"


@with_flags(CONNECTION_FLAGS)
def doctor(**flags: Any) -> None:
    """Check the installation, the machine and the server."""
    installed = list(installation(metadata.requires("respin") or []))
    graphics, gpus = find_gpus()
    with client_from_flags(flags, retries=0) as client:
        answering = server(client, flags["url"])
    findings = [
        Finding("python", sys.version_info >= (3, 10), f"{sys.version.split()[0]} at {sys.executable}"),
        *installed,
        *machine(),
        graphics,
        mini_set(),
        *profiles(serving=_good(installed, "extra serve"), gpus=gpus),
        answering,
    ]
    if not answering.good:
        findings += [port(number, use) for number, use in PORTS.items()]
    _print(findings)
    if not _good(installed, BASE):
        raise typer.Exit(1)


def _good(findings: Iterable[Finding], topic: str) -> bool:
    return all(finding.good for finding in findings if finding.topic == topic)


def _print(findings: Iterable[Finding]) -> None:
    table = Table("what", "", "finding", title=f"respin {metadata.version('respin')}", title_justify="left")
    for finding in findings:
        mark = Text("ok", "green") if finding.good else Text("no", "yellow")
        table.add_row(Text(finding.topic), mark, Text(finding.sentence))
    Console().print(table)


def installation(requirements: Iterable[str]) -> Iterator[Finding]:
    """Check the installation: the client, and each extra.

    Args:
        requirements: lines of the package's metadata, e.g. "psutil==7.2.2; extra == 'serve'".
    """
    names: dict[str, list[str]] = defaultdict(list)
    for requirement in requirements:
        extra = re.search(r"extra == ['\"]([\w-]+)", requirement)
        name = re.match(r"[\w.-]+", requirement)
        if name:
            names[f"extra {extra[1]}" if extra else BASE].append(name[0])
    for topic, packages in names.items():
        versions = {name: _version(name) for name in packages}
        missing = [name for name, version in versions.items() if version is None]
        present = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        install = "respin" if topic == BASE else f"respin[{topic.removeprefix('extra ')}]"
        lacking = f"lacks {', '.join(missing)}: pip install '{install}'"
        yield Finding(topic, not missing, lacking if missing else present)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def profiles(*, serving: bool, gpus: Sequence[GpuInfo], container: Path = TRITON_CONTAINER) -> Iterator[Finding]:
    """Check which profiles can run here.

    Args:
        serving: whether the extra `serve` is installed.
        gpus: the GPUs of this machine.
        container: folder of the server in the official container.
    """
    for each in PROFILES.values():
        lacking = _lacking(each, serving=serving, gpus=gpus, container=container)
        yield Finding(
            f"profile {each.name}", not lacking, f"needs {', and '.join(lacking)}" if lacking else each.summary
        )


def _lacking(profile: Profile, *, serving: bool, gpus: Sequence[GpuInfo], container: Path) -> list[str]:
    lacking = []
    if profile.network_backend in (None, "python"):
        if not serving and not container.is_dir():
            lacking.append("pip install 'respin[serve]'")
    elif not (container / "backends" / profile.network_backend).is_dir():
        lacking.append(f"the official Triton container, whose {profile.network_backend} backend pip does not bring")
    if profile.instance_kind == "KIND_GPU":
        needed_mib = GPU_NEEDS_MIB.get(profile.name, 0)
        most_mib = max((gpu.free_mib for gpu in gpus if gpu.free_mib is not None), default=needed_mib)
        if not gpus:
            lacking.append(
                "an NVIDIA GPU" + (f" with {needed_mib} MiB for the published weights" if needed_mib else "")
            )
        elif most_mib < needed_mib:
            lacking.append(f"{needed_mib} MiB of GPU memory for the published weights, of which {most_mib} are free")
    return lacking


def server(client: Client, url: str) -> Finding:
    """Check whether a Respin server is ready."""
    if client.is_ready():
        return Finding("server", True, f"a Respin server is ready at {url}")
    try:
        client.check_server()
    except RespinError as error:
        return Finding("server", False, str(error))
    return Finding("server", False, f"the server at {url} has not loaded every model; wait for it, or see its log")


def port(number: int, use: str, host: str = "127.0.0.1") -> Finding:
    """Check whether a port is free."""
    with socket.socket() as probe:
        probe.settimeout(1)
        taken = probe.connect_ex((host, number)) == 0
    state = f"taken by another program; serve {use} on another port" if taken else f"free for {use}"
    return Finding(f"port {number}", not taken, state)


def machine(shared_memory: Path = SHARED_MEMORY) -> Iterator[Finding]:
    """Report processor cores, memory, and the shared memory that Triton's Python models need."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    total = os.sysconf("SC_PHYS_PAGES") * page_bytes
    yield Finding("cpu", True, f"{cores} cores")
    yield Finding("memory", True, f"{total / 2**30:.1f} GiB")
    if not shared_memory.is_dir():
        yield Finding("shared memory", False, f"no {shared_memory}; a server runs on Linux")
        return
    usage = shutil.disk_usage(shared_memory)
    enough = usage.free >= LEAST_SHARED_MEMORY_MIB * 2**20
    advice = "" if enough else f"; a server wants {LEAST_SHARED_MEMORY_MIB} MiB free (docker run --shm-size)"
    yield Finding(
        "shared memory",
        enough,
        f"{usage.free // 2**20} of {usage.total // 2**20} MiB free in {shared_memory}{advice}",
    )


def find_gpus(program: str = "nvidia-smi") -> tuple[Finding, list[GpuInfo]]:
    """Report the GPUs as nvidia-smi describes them."""
    query = [program, "--query-gpu=name,driver_version,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except FileNotFoundError:
        return Finding("gpu", False, "no nvidia-smi; the CPU profiles run without"), []
    except (subprocess.SubprocessError, OSError) as error:
        return Finding("gpu", False, f"nvidia-smi does not answer ({error}); look at the driver"), []
    gpus = [_gpu(line) for line in answer.stdout.splitlines() if line.count(",") >= 3]
    if not gpus:
        return Finding("gpu", False, "nvidia-smi lists no GPU; the CPU profiles run without"), []
    return Finding("gpu", True, "; ".join(map(str, gpus))), gpus


def _gpu(line: str) -> GpuInfo:
    name, driver, total, free = (part.strip() for part in line.rsplit(",", 3))
    return GpuInfo(name, driver, *(int(part) if part.isdecimal() else None for part in (total, free)))


def mini_set(locate: Callable[[str], Path] = bundled_path) -> Finding:
    """Check that the mini set is complete.

    Args:
        locate: finds a bundled file by its path from the project's root.
    """
    try:
        folder = locate("models/mini")
        found = ModelSet.load(folder)
        found.verify(folder)
    except RespinError as error:
        return Finding("mini set", False, str(error))
    whole = f"{len(found.networks)} networks, {found.size_bytes / 2**20:.1f} MiB, checksums right"
    return Finding("mini set", True, "; ".join([whole, *found.notes]))
