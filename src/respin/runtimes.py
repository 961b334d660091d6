"""Runtimes: what runs the ten networks inside the engine's process, under the profile `local`.

`respin serve` chooses one (`respin_server.choice`), the engine's config carries it as parameters, and the engine
imports the module that implements it (`respin_ensemble.networks.in_process`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

from respin.errors import InvalidInput

Device = Literal["cpu", "cuda"]

DEVICES: tuple[Device, ...] = ("cpu", "cuda")

Precision = Literal["fp32", "fp16"]
"""Number format of a network's arithmetic."""


@dataclass(frozen=True)
class Runtime:
    """One way of running the networks in a process.

    Args:
        name: value of `--runtime`.
        summary: one line for `--help`.
        file: name of a network's file beside the engine; None = the modules of a folder of checkpoints.
        devices: where it runs.
    """

    name: str
    summary: str
    file: str | None
    devices: tuple[Device, ...] = DEVICES


RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Runtime("onnxruntime", "the set's ONNX files; on a GPU with CUDA graphs", "model.onnx"),
        Runtime("tensorrt", "the set's engine plans, as CUDA graphs", "model.plan", ("cuda",)),
        Runtime("torch", "PyTorch modules of the checkpoints, without an export; on a GPU as CUDA graphs", None),
    )
}
"""The three runtimes by name."""

MODULES = "respin_export.served_modules"
"""Name of the Python module that makes the networks' PyTorch modules from checkpoints.

Neither server nor ensemble may import the package that knows checkpoints, or PyTorch, so they import it by this name,
and only for the runtime `torch`. It has `manifest_of(folder, precision)` and `module_loader(folder, device,
precision)`.
"""


@dataclass(frozen=True)
class InProcess:
    """How the engine runs the networks in its process; it reads this from the parameters of its config.

    Args:
        runtime: key of `RUNTIMES`.
        device: "cpu" or "cuda".
        gpu_memory_mib: limit on the GPU memory of the process, MiB; 0 = all that there is.
        modules: see `MODULES`.
        compiled: whether torch.compile's code runs where it pays; only by the runtime `torch`.

    Raises:
        InvalidInput: a value is unknown, or the runtime does not run on the device, or compiles nothing.
    """

    runtime: str = "onnxruntime"
    device: Device = "cpu"
    gpu_memory_mib: int = 0
    modules: str = MODULES
    compiled: bool = False

    def __post_init__(self) -> None:
        """Check that there is such a runtime for the device."""
        if self.runtime not in RUNTIMES:
            raise InvalidInput(f"runtime is '{self.runtime}'; choose one of {', '.join(RUNTIMES)}")
        if self.device not in DEVICES:
            raise InvalidInput(f"device is '{self.device}'; choose one of {', '.join(DEVICES)}")
        if self.device not in RUNTIMES[self.runtime].devices:
            raise InvalidInput(
                f"runtime '{self.runtime}' does not run on device '{self.device}'; choose --device cuda, or --runtime "
                f"{' or '.join(name for name, each in RUNTIMES.items() if self.device in each.devices)}"
            )
        if self.gpu_memory_mib < 0:
            raise InvalidInput(f"gpu_memory_mib is {self.gpu_memory_mib}; choose 0 (no limit) or more")
        if self.compiled and self.runtime != "torch":
            raise InvalidInput(
                f"the runtime '{self.runtime}' has nothing to compile; leave --compile out, or --runtime torch"
            )

    @property
    def file(self) -> str | None:
        """Name of a network's file beside the engine; None = the modules of a folder of checkpoints."""
        return RUNTIMES[self.runtime].file

    @property
    def precision(self) -> Precision:
        """Precision of PyTorch modules on the device: "fp16" on a GPU, "fp32" on a CPU."""
        return "fp16" if self.device == "cuda" else "fp32"

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> InProcess:
        """Read the choice from the parameters of a config; other parameters are ignored.

        Raises:
            InvalidInput: a value is unknown, or a parameter is missing.
        """
        if missing := [field.name for field in fields(cls) if field.name not in parameters]:
            raise InvalidInput(
                f"the engine's config has no parameter '{missing[0]}': an older version assembled this repository; "
                "run respin assemble again"
            )
        given: dict[str, Any] = {field.name: parameters[field.name] for field in fields(cls)}
        given["gpu_memory_mib"] = int(given["gpu_memory_mib"])
        given["compiled"] = given["compiled"] == str(True)
        given["device"] = cast(Device, given["device"])
        return cls(**given)

    def parameters(self) -> dict[str, str]:
        """Return the parameters of the engine's config: the inverse of `from_parameters`."""
        return {field.name: str(getattr(self, field.name)) for field in fields(self)}


LOADING = "networks: "
"""Begin of the engine's lines in the server's log that say what it is loading; `respin serve` shows the last one."""

DEFAULT_IN_PROCESS = InProcess()
"""ONNX Runtime on the CPU."""
