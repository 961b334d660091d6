"""The PyTorch modules that a server runs with the runtime `torch`: of the checkpoints themselves, without an export.

Server and engine import this module by name (`respin.runtimes.MODULES`), when that runtime is chosen. `manifest_of`
imports no PyTorch, so that `respin serve` itself stays small.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.errors import InternalError, InvalidInput
from respin.model_set import MANIFEST, ModelSet
from respin_export.published import PublishedWeights

if TYPE_CHECKING:
    from torch import nn

MINI = "mini"
"""Name of the set whose modules are loaded from the weights that `respin train` kept, beside it in a checkout."""


def manifest_of(folder: Path, precision: str) -> ModelSet:
    """Return the manifest of the set that the modules make: its name, precision and sizes; of checkpoints, no files.

    Args:
        folder: folder of the checkpoints in the layout of `respin weights`, or models/mini.
        precision: "fp16" or "fp32", in which modules of checkpoints compute; the mini set's keep their own.

    Raises:
        InvalidInput: a checkpoint is missing, or it is a folder of exported files.
        ContractMismatch: the folder of the mini set has no readable manifest.
    """
    if _is_exported(folder):
        mini = ModelSet.load(folder)
        _mini_weights(mini, folder)
        return mini
    weights = PublishedWeights(folder)
    found = {weights.checkpoint(name): weights.find(name).name for name in NETWORKS}
    name = re.sub(r"[^\w .+-]", "_", folder.resolve().name)[:100] or "checkpoints"
    return ModelSet(name, precision, weights.sizes, {}, {"weights": found})


def module_loader(folder: Path, device: str, precision: str) -> Callable[[str], nn.Module]:
    """Return a function that loads the module of a network, by name, as it runs on a device.

    Args:
        folder: see `manifest_of`.
        device: "cpu" or "cuda"; the modules are loaded onto the CPU.
        precision: "fp16" or "fp32".

    Raises:
        InvalidInput: see `manifest_of`.
    """
    # PyTorch and the model libraries
    from respin_export.inference_modules import InferenceModules  # noqa: PLC0415

    half = precision == "fp16"
    if _is_exported(folder):
        # What trains the mini set comes with it.
        from respin_export.mini.trained import MiniSet  # noqa: PLC0415

        return InferenceModules(MiniSet(_mini_weights(ModelSet.load(folder), folder)), device, half)
    return InferenceModules(PublishedWeights(folder), device, half)


def _is_exported(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def _mini_weights(model_set: ModelSet, folder: Path) -> Path:
    """Return the folder of the mini set's weights."""
    if model_set.name != MINI:
        raise InvalidInput(
            f"'{folder}' holds exported files, and the runtime torch reads checkpoints; give the folder that "
            "`respin weights fetch` has made, e.g. --weights weights, or --runtime onnxruntime"
        )
    try:
        return bundled_path("models/mini-weights")
    except InternalError:
        raise InvalidInput(
            "the weights of the mini set's modules are in a checkout of Respin only; use --runtime onnxruntime"
        ) from None
