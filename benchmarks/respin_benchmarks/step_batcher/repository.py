"""The model repositories that the benchmark serves: UNets of fixed cost in place of real ones, and their drivers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from respin.bundled import bundled
from respin.contracts import ROTATE_OBJECT_STREAM
from respin.contracts.networks import UNETS
from respin.limits import EngineLimits
from respin.model_set import ModelSet
from respin.pbtxt import render
from respin.profiles import PROFILES
from respin.specs import ModelSpec
from respin_server.assemble import assemble

PROFILE = "cpu"

DRIVER_CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: 0
input [{{ name: "unet" data_type: TYPE_STRING dims: [ 1 ] }}]
input [{{ name: "steps" data_type: TYPE_INT64 dims: [ 1 ] }}]
input [{{ name: "seed" data_type: TYPE_INT64 dims: [ 1 ] }}]
output [{{ name: "times" data_type: TYPE_INT64 dims: [ 4 ] }}]
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
    cost_ms: float | None  # of a call, whatever the batch; None = the mini set's own network
    delay_ms: int = 0  # how long Triton's dynamic batcher waits for more requests

    @property
    def name(self) -> str:
        """Of the model in Triton; begins with the contract's name."""
        cost = "mini" if self.cost_ms is None else f"{self.cost_ms:g}ms"
        return f"{self.spec.name}-{cost}-delay{self.delay_ms}"

    def call_log(self, folder: Path) -> Path:
        """Return the file that it writes its calls to."""
        return folder / f"{self.name}.calls"

    def write(self, repository: Path, logs: Path) -> None:
        """Write it to a repository: the config that is shipped, but for its name, the delay and the log."""
        parameters = {"call_log": str(self.call_log(logs))}
        if self.cost_ms is not None:
            parameters["cost_ms"] = f"{self.cost_ms:g}"
        config = _with_parameters(render(self.spec, PROFILES[PROFILE]), parameters)
        config = config.replace(f'name: "{self.spec.name}"', f'name: "{self.name}"', 1)
        if self.delay_ms:
            batching = f"dynamic_batching {{ max_queue_delay_microseconds: {self.delay_ms * 1000} }}"
            config = config.replace("dynamic_batching { }", batching)
        folder = repository / self.name
        _write_model(folder, config, "MiniUNet" if self.cost_ms is None else "FixedCostUNet")
        if self.cost_ms is None:
            models = bundled("models/mini")
            graph = ModelSet.load(models).file(models, self.spec)
            (folder / "1" / "model.onnx").symlink_to(graph.resolve())


def write_stepping_repository(repository: Path, unets: list[ServedUNet], logs: Path) -> None:
    """Write UNets and both drivers, nothing else.

    Args:
        repository: the folder to make.
        unets: to serve.
        logs: folder of their logs of calls.
    """
    for unet in unets:
        unet.write(repository, logs)
    for name, driver in DRIVERS.items():
        _write_model(repository / name, DRIVER_CONFIG.format(name=name), driver)


def write_views_repository(repository: Path, *, cost_ms: float, cache_mib: int, logs: Path) -> None:
    """Write all of Respin on the mini set, its two UNets replaced by ones of fixed cost.

    Args:
        repository: the folder to make.
        cost_ms: of a call.
        cache_mib: what the engine's caches may take; 0 = off.
        logs: folder of the UNets' logs of calls.
    """
    assemble(bundled("model_repository"), bundled("models/mini"), PROFILES[PROFILE], repository)
    for spec in UNETS.values():
        parameters = {"call_log": str(logs / f"{spec.name}.calls"), "cost_ms": f"{cost_ms:g}"}
        config = _with_parameters(render(spec, PROFILES[PROFILE]), parameters)
        _write_model(repository / spec.name, config, "FixedCostUNet")
    limits = EngineLimits(cache_mib=cache_mib)
    _replace(
        repository / ROTATE_OBJECT_STREAM.name / "config.pbtxt",
        render(ROTATE_OBJECT_STREAM, PROFILES[PROFILE], limits),
    )


def _write_model(folder: Path, config: str, driver: str) -> None:
    (folder / "1").mkdir(parents=True, exist_ok=True)
    _replace(folder / "config.pbtxt", config)
    _replace(folder / "1" / "model.py", MODEL.format(driver=driver))


def _replace(path: Path, text: str) -> None:
    """Write a file; where it was a link into the package, the package keeps its own."""
    path.unlink(missing_ok=True)
    path.write_text(text)


def _with_parameters(config: str, parameters: dict[str, str]) -> str:
    return config + "".join(
        f'parameters [{{ key: "{key}" value: {{ string_value: "{value}" }} }}]\n' for key, value in parameters.items()
    )
