"""Find the installed TensorRT, and the GPUs that it can build for.

There are two flavours of one API. `tensorrt` builds for the GPU of the machine, and Triton's backend serves its
engine plans; `tensorrt_rtx` builds ahead of time without a GPU, and its plans are compiled further when they are
loaded.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from respin.errors import InternalError, InvalidInput

FLAVOURS = {
    "tensorrt": "NVIDIA's container; builds for the GPU of this machine; what Triton serves",
    "tensorrt_rtx": "from PyPI; builds without a GPU, for many; Triton cannot load its engines",
}
"""Description of each flavour by the name of its module; Triton serves the first."""

TENSORRT_MISSING = (
    "TensorRT is not installed; pip install 'respin[tensorrt-rtx]', or 'respin[tensorrt]' where the GPU is, or build "
    "in NVIDIA's TensorRT container"
)
"""Message if no flavour is installed."""

CURRENT = "current"
"""Value for the GPU of this machine in place of a compute capability."""

_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR (cuda.h, `CUdevice_attribute`)."""


@dataclass(frozen=True)
class Library:
    """An installed TensorRT.

    Args:
        flavour: key of `FLAVOURS`, which is the module's name.
        version: version of the module, e.g. "10.5.0".
        targets: compute capabilities that it can build for, e.g. "8.6"; empty = only the GPU of the machine.
    """

    flavour: str
    version: str
    targets: tuple[str, ...] = ()

    @classmethod
    def installed(cls, flavour: str | None = None, load: Callable[[str], Any] = importlib.import_module) -> Library:
        """Return the TensorRT of this Python environment.

        Args:
            flavour: key of `FLAVOURS`; None = the first that is installed.
            load: imports a module by name.

        Raises:
            InvalidInput: there is no such flavour.
            InternalError: it is not installed, or does not load.
        """
        if flavour is not None and flavour not in FLAVOURS:
            raise InvalidInput(f"there is no TensorRT flavour '{flavour}'; choose of {', '.join(FLAVOURS)}")
        reasons = []
        for name in FLAVOURS if flavour is None else [flavour]:
            try:
                return cls._of(name, load(name))
            except ModuleNotFoundError as error:
                if error.name != name:
                    raise
            except (ImportError, OSError) as error:
                reasons.append(f"{name} is installed but does not load ({error})")
        raise InternalError("; ".join([*reasons, TENSORRT_MISSING]))

    @classmethod
    def _of(cls, flavour: str, module: Any) -> Library:
        names = module.ComputeCapability.__members__ if flavour == "tensorrt_rtx" else ()
        targets = (f"{name[2:-1]}.{name[-1]}" for name in names if name.startswith("SM"))
        return cls(flavour, module.__version__, tuple(sorted(targets, key=float)))


def device_capability(driver: Any = None) -> str | None:
    """Return the compute capability of CUDA's first GPU, e.g. "9.0"; None if there is none.

    Args:
        driver: CUDA's driver library; None = that of this machine.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1") if driver is None else driver
    except OSError:
        return None
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0):
        return None
    for number, attribute in ((major, _MAJOR), (minor, _MINOR)):
        if cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device):
            return None
    return f"{major.value}.{minor.value}"


def target_capabilities(library: Library, wanted: Sequence[str], device: str | None) -> tuple[str, ...]:
    """Return the compute capabilities to build an engine plan for.

    Args:
        library: the TensorRT that builds it.
        wanted: compute capabilities, or "current" only; empty = the library's default, which for TensorRT-RTX is 8.0
            and later.
        device: compute capability of this machine's GPU; None = there is no GPU.

    Returns:
        Compute capabilities in ascending order; "current:9.0" for this machine's GPU if the library has other targets;
        empty for TensorRT-RTX's default.

    Raises:
        InvalidInput: the library cannot build for them here.
    """
    if not library.targets:
        return (_only_device(library, wanted, device),)
    if CURRENT in wanted:
        if len(wanted) > 1:
            raise InvalidInput(f"'{CURRENT}' stands among other compute capabilities; give it alone")
        if device is None:
            raise InvalidInput(f"there is no GPU to build for; choose of {', '.join(library.targets)}, or none")
        return (f"{CURRENT}:{device}",)
    if unknown := sorted(set(wanted) - set(library.targets)):
        raise InvalidInput(
            f"{library.flavour} {library.version} cannot build for compute capability {unknown[0]}; "
            f"choose of {', '.join(library.targets)}, or '{CURRENT}' alone"
        )
    return tuple(sorted(set(wanted), key=float))


def _only_device(library: Library, wanted: Sequence[str], device: str | None) -> str:
    if device is None:
        raise InvalidInput(
            f"{library.flavour} builds on a GPU and there is none; --flavour tensorrt_rtx builds without one"
        )
    if other := sorted(set(wanted) - {CURRENT, device}):
        raise InvalidInput(
            f"{library.flavour} builds for the GPU of this machine, compute capability {device}, not for {other[0]}; "
            "build where the GPU is"
        )
    return device
