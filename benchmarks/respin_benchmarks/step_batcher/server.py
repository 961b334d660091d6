"""The server of the benchmark: all of Respin on UNets of fixed cost, and two models that drive these UNets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from respin.bundled import bundled_path
from respin.contracts.networks import UNETS
from respin.pbtxt import render
from respin.profiles import PROFILES
from respin_benchmarks.embedded import NO_CACHES, repository_server
from respin_benchmarks.step_batcher.calls import CallLog
from respin_benchmarks.step_batcher.rows import BATCHER, LOOPS
from respin_server.assemble import assemble

PROFILE = "cpu"

LOG_PARAMETER = 'parameters [{{ key: "call_log" value: {{ string_value: "{log}" }} }}]\n'

DRIVER_CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: 0
input [{{ name: "unet" data_type: TYPE_STRING dims: [ 1 ] }}]
input [{{ name: "steps" data_type: TYPE_INT64 dims: [ 1 ] }}]
input [{{ name: "seed" data_type: TYPE_INT64 dims: [ 1 ] }}]
output [{{ name: "times" data_type: TYPE_INT64 dims: [ 2 ] }}]
instance_group [{{ count: 1 kind: KIND_CPU }}]
"""

MODEL = """\
from respin_benchmarks.step_batcher.models import {driver} as TritonPythonModel

__all__ = ["TritonPythonModel"]
"""

DRIVERS = {BATCHER: "BatcherDriver", LOOPS: "LoopsDriver"}
"""The class that drives, and the name of its model, by the way."""


@dataclass(frozen=True)
class BatcherServer:
    """A server that runs."""

    url: str  # of its gRPC
    logs: dict[str, CallLog]  # of the UNets, by name


@contextmanager
def batcher_server() -> Iterator[BatcherServer]:
    """Serve the mini set without caches for as long as the `with` lasts, its UNets replaced by ones of fixed cost."""
    with TemporaryDirectory() as name:
        repository, logs = Path(name) / "models", {unet: Path(name) / unet for unet in UNETS}
        assemble(
            bundled_path("model_repository"), bundled_path("models/mini"), PROFILES[PROFILE], repository, NO_CACHES
        )
        for unet, log in logs.items():
            config = render(UNETS[unet], PROFILES[PROFILE]) + LOG_PARAMETER.format(log=log)
            _write_model(repository / unet, config, "FixedCostUNet")
        for driver in DRIVERS.values():
            _write_model(repository / driver, DRIVER_CONFIG.format(name=driver), driver)
        with repository_server(repository, PROFILE) as server:
            yield BatcherServer(str(server.endpoints["gRPC"]), {unet: CallLog(log) for unet, log in logs.items()})


def _write_model(folder: Path, config: str, driver: str) -> None:
    (folder / "1").mkdir(parents=True, exist_ok=True)
    for path, text in ((folder / "config.pbtxt", config), (folder / "1" / "model.py", MODEL.format(driver=driver))):
        path.unlink(missing_ok=True)  # where it was a link into the package, the package keeps its own
        path.write_text(text)
