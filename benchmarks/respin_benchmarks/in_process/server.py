"""Whole jobs through gRPC, on the server that `respin serve` starts."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from respin.contracts.networks import UNETS
from respin.errors import InternalError
from respin.request import RotationRequest
from respin_benchmarks.gpu import MIB, Gpu, open_gpu
from respin_benchmarks.in_process.machine import GpuMemory
from respin_benchmarks.served.metrics import MetricsPort, MetricsReading
from respin_client import Client
from respin_server.stubs import living_instances

POLL_S = 0.1
STOP_S = 60.0
JOB_TIMEOUT_S = 120.0


@dataclass
class Served:
    """Sends jobs to a server; see `serve`."""

    process: int  # that `respin serve` runs in
    ready_s: float  # what its start took
    client: Client  # of the server
    port: MetricsPort  # of its metrics
    gpu: Gpu | None  # that it runs on; None = it runs on the CPU
    taken: GpuMemory  # of the GPU, in use before
    name: str = "served"
    answered: int = 0  # since the last reading
    reading: MetricsReading = field(default_factory=MetricsReading)  # the last

    def run_job(self, request: RotationRequest, outputs: Sequence[str]) -> dict[str, bytes]:
        """Do one job; return the first picture of each output, as it came.

        Raises:
            RespinError: the server did not answer with it.
        """
        result = self.client.rotate_object(request, outputs=outputs)
        self.answered += 1
        found = {name: getattr(result, name) for name in outputs}
        return {name: pictures[0] if isinstance(pictures, tuple) else pictures for name, pictures in found.items()}

    def busy_s(self) -> tuple[float, ...]:
        """Return how long each UNet has been called so far, once the metrics count every answer."""
        answered, self.answered = self.answered, 0
        self.reading = self.port.read_settled(self.reading, answered)
        return tuple(self.reading.busy_s(unet) for unet in UNETS)

    def memory(self) -> tuple[GpuMemory, str]:
        """Return the memory that is in use, and by process as "rotate_object_stream:9000 tritonserver:400".

        On a GPU in all and, where NVML reports processes, of those of the server; on a CPU their PSS.
        """
        held = self.gpu.by_process_mib() if self.gpu else {}
        by_name: dict[str, float] = {}
        for server in psutil.Process(self.process).children():
            models = {pid: instance.model for instance, pid in living_instances(server.pid).items()}
            for each in (server, *server.children(recursive=True)):
                with suppress(psutil.Error):
                    name = models.get(each.pid) or each.name()
                    mib = held.get(each.pid, 0.0) if self.gpu else each.memory_full_info().pss / MIB
                    by_name[name] = by_name.get(name, 0.0) + mib
        total, text = sum(by_name.values()), " ".join(f"{name}:{mib:.0f}" for name, mib in by_name.items() if mib)
        whole = self.gpu.used_mib() - self.taken.whole if self.gpu else round(total)
        return GpuMemory(whole, total if held else math.nan), text


@contextmanager
def serve(options: Sequence[tuple[str, str]], taken: GpuMemory, time_is_up: Callable[[], bool]) -> Iterator[Served]:
    """Run `respin serve` on free ports without caches, for as long as the `with` lasts.

    Args:
        options: options of the command, names and values; the value of a flag is empty.
        taken: memory of the GPU in use before.
        time_is_up: asked while it starts; it is stopped then.

    Raises:
        InternalError: it ended before it was ready, or the time was up.
    """
    given = [("grpc-port", "0"), ("metrics-port", "0"), ("limit", "cache_mib=0"), *options]
    arguments = [text for name, value in given for text in (f"--{name}", value) if text]
    gpu = open_gpu() if ("device", "cuda") in options else None
    with TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        with output.open("wb") as file:
            command = [sys.executable, "-m", "respin_server", *arguments]
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        began_s = time.perf_counter()
        try:
            facts = _facts_when_ready(process, output, time_is_up)
            ready_s = time.perf_counter() - began_s
            with Client(facts["gRPC"], retries=0, timeout_s=JOB_TIMEOUT_S) as client:
                yield Served(process.pid, ready_s, client, MetricsPort(facts["metrics"]), gpu, taken)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _facts_when_ready(process: subprocess.Popen[bytes], output: Path, time_is_up: Callable[[], bool]) -> dict[str, str]:
    """Wait for the server; return what it prints about itself, by the first word of each line."""
    while True:
        ended, lines = process.poll() is not None, output.read_text(errors="replace").splitlines()
        facts = {name: fact.strip() for name, _, fact in (line.partition(" ") for line in lines)}
        if "log" in facts:
            return facts
        if ended:
            said = " ".join(line for line in lines if not line.startswith("runtime: ")) or "no output"
            raise InternalError(f"respin serve ended with code {process.returncode}: {said}")
        if time_is_up():
            raise InternalError("the time was up before the server was ready")
        time.sleep(POLL_S)
