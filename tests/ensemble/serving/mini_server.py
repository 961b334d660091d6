"""An embedded server on the mini set, for tests."""

import shutil
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tritonclient import grpc as triton
from tritonclient.utils import np_to_triton_dtype

from respin.bundled import bundled_path
from respin.limits import EngineLimits
from respin.profiles import PROFILES
from respin_server.assemble import assemble
from respin_server.choice import Installed, Wanted, choose
from respin_server.launcher import EmbeddedTriton, ServerOptions
from respin_server.options import IN_PROCESS_START_S

NOTHING_ELSE: Mapping[str, Any] = MappingProxyType({})

PROBE_CONFIG = """
name: "probe"
backend: "python"
max_batch_size: 0
input [{ name: "network" data_type: TYPE_STRING dims: [ 1 ] }, { name: "arrays" data_type: TYPE_STRING dims: [ 1 ] }]
output [{ name: "arrays" data_type: TYPE_STRING dims: [ 1 ] }]
instance_group [{ count: 1 kind: KIND_CPU }]
"""


def add_probe(repository: Path) -> None:
    folder = repository / "probe" / "1"
    folder.mkdir(parents=True)
    (folder.parent / "config.pbtxt").write_text(PROBE_CONFIG)
    shutil.copy(Path(__file__).with_name("probe_model.py"), folder / "model.py")


def serve(
    profile: str,
    folder: Path,
    *,
    probed: bool = False,
    exit_timeout_s: int = 10,
    runtime: str | None = None,
    in_process: Mapping[str, Any] = NOTHING_ELSE,
    **limits: int,
):
    repository = folder / "repository"
    chosen, mini = EngineLimits(**limits), bundled_path("models/mini")
    choice = None if runtime is None else choose(Wanted("cpu", runtime), mini, Installed.detect())
    if choice is not None:
        # `respin serve` takes a memory budget for a GPU only; the engine keeps to it on any device.
        choice = replace(choice, in_process=replace(choice.in_process, **in_process))
    assemble(bundled_path("model_repository"), mini, PROFILES[profile], repository, chosen, choice=choice)
    if probed:
        add_probe(repository)
    options = ServerOptions(
        repository,
        profile,
        grpc_port=0,
        metrics_port=0,
        exit_timeout_s=exit_timeout_s,
        start_timeout_s=IN_PROCESS_START_S,
    )
    return EmbeddedTriton(options)


def series(server) -> dict[str, float]:
    """What the metrics port says, by series."""
    with urllib.request.urlopen(f"http://{server.endpoints['metrics']}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("respin_")}


def eventually(server, name: str, wanted) -> float:
    """A series once it satisfies a condition: metrics are published every half second, later where much is going on."""
    pause = threading.Event()
    for _ in range(1200):
        value = series(server).get(name, 0.0)
        if wanted(value):
            return value
        pause.wait(0.05)
    raise AssertionError(f"{name} stayed {value}")


def send(triton_client, request):
    """Send a request without a deadline; its call can be cancelled."""
    inputs = []
    for name, array in request.to_arrays().items():
        inputs.append(triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
        inputs[-1].set_data_from_numpy(array)
    return triton_client.async_infer("rotate_object", inputs, lambda result, error: None)
