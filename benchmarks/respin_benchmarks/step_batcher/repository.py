"""The servers of the benchmark: UNets of fixed cost in place of real ones, and their drivers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from respin.bundled import bundled
from respin.contracts.networks import UNETS
from respin.limits import EngineLimits
from respin.model_set import ModelSet
from respin.pbtxt import render
from respin.profiles import PROFILES
from respin.specs import ModelSpec
from respin_benchmarks.embedded import started
from respin_benchmarks.step_batcher.calls import CallLog
from respin_server.assemble import assemble

PROFILE = "cpu"

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

DRIVERS = {"batcher": "BatcherDriver", "loops": "LoopsDriver"}
"""Their classes, by the name of the model."""


@dataclass(frozen=True)
class ServedUNet:
    """One UNet of the stepping's repository."""

    spec: ModelSpec  # its contract
    network: str  # "fixed", or "mini": the mini set's own
    delay_ms: int = 0  # how long Triton's dynamic batcher waits for more requests

    @property
    def name(self) -> str:
        """Of the model in Triton; begins with the contract's name."""
        return f"{self.spec.name}-{self.network}-delay{self.delay_ms}"

    def write(self, repository: Path, logs: Path) -> None:
        """Write it to a repository: the config that is shipped, but for its name, the delay and the log."""
        config = _config_with_log(self.spec, logs / self.name)
        config = config.replace(f'name: "{self.spec.name}"', f'name: "{self.name}"', 1)
        if self.delay_ms:
            batching = f"dynamic_batching {{ max_queue_delay_microseconds: {self.delay_ms * 1000} }}"
            config = config.replace("dynamic_batching { }", batching)
        folder = repository / self.name
        _write_model(folder, config, "MiniUNet" if self.network == "mini" else "FixedCostUNet")
        if self.network == "mini":
            models = bundled("models/mini")
            graph = ModelSet.load(models).file(models, self.spec)
            (folder / "1" / "model.onnx").symlink_to(graph.resolve())


@dataclass(frozen=True)
class BatcherServer:
    """A server that runs."""

    url: str  # of its gRPC
    folder: Path  # of the UNets' logs of calls

    def log(self, model: str) -> CallLog:
        """Return the calls of a UNet, by the model's name in Triton."""
        return CallLog(self.folder / model)


@contextmanager
def _serving(write: Callable[[Path, Path], None]) -> Iterator[BatcherServer]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "models", folder)
        with started(folder / "models", PROFILE) as server:
            yield BatcherServer(str(server.endpoints["gRPC"]), folder)


def stepping_server(unets: list[ServedUNet]) -> AbstractContextManager[BatcherServer]:
    """Serve UNets and both drivers, nothing else."""

    def write(repository: Path, logs: Path) -> None:
        for unet in unets:
            unet.write(repository, logs)
        for name, driver in DRIVERS.items():
            _write_model(repository / name, DRIVER_CONFIG.format(name=name), driver)

    return _serving(write)


def views_server(cache_mib: int) -> AbstractContextManager[BatcherServer]:
    """Serve all of Respin on the mini set, its two UNets replaced by ones of fixed cost.

    Args:
        cache_mib: what the engine's caches may take; 0 = off.
    """

    def write(repository: Path, logs: Path) -> None:
        limits = EngineLimits(cache_mib=cache_mib)
        assemble(bundled("model_repository"), bundled("models/mini"), PROFILES[PROFILE], repository, limits)
        for spec in UNETS.values():
            _write_model(repository / spec.name, _config_with_log(spec, logs / spec.name), "FixedCostUNet")

    return _serving(write)


def _config_with_log(spec: ModelSpec, log: Path) -> str:
    parameter = f'parameters [{{ key: "call_log" value: {{ string_value: "{log}" }} }}]\n'
    return render(spec, PROFILES[PROFILE]) + parameter


def _write_model(folder: Path, config: str, driver: str) -> None:
    (folder / "1").mkdir(parents=True, exist_ok=True)
    for path, text in ((folder / "config.pbtxt", config), (folder / "1" / "model.py", MODEL.format(driver=driver))):
        path.unlink(missing_ok=True)  # where it was a link into the package, the package keeps its own
        path.write_text(text)
