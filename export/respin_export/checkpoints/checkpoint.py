"""The tensors of a checkpoint, the errors about them, and two ways to fill a module with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from respin.errors import InvalidInput
from respin.json_file import read_json_object
from respin_export.checkpoints.pickles import read_tensors

Module = TypeVar("Module", bound=nn.Module)
TensorShape = tuple[int, ...]

_CANNOT_BE_BUILT = (ValueError, TypeError, ZeroDivisionError, OverflowError, RuntimeError, MemoryError)
"""Exceptions of the libraries' constructors for sizes that no network has."""

FRACTIONS = ("res_scale",)
"""Numbers of a `config.json` that need not be whole."""

NAMED_DIFFERENCES = 3
"""Number of keys of each kind in an error message."""


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a checkpoint, with its path and description.

    Args:
        path: path of the file or folder.
        expected: description for messages: "a SAM checkpoint (sam_vit_l_0b3195.pth)".
        tensors: tensors by the authors' names.
    """

    path: Path
    expected: str
    tensors: Mapping[str, Tensor]

    @classmethod
    def read(cls, path: Path, expected: str) -> Checkpoint:
        """Read a file.

        Raises:
            InvalidInput: as `read_tensors`.
        """
        return cls(path, expected, read_tensors(path))

    def subset(self, prefix: str) -> Checkpoint:
        """Return the tensors whose names begin with a prefix, under names without it.

        Raises:
            InvalidInput: there are none.
        """
        tensors = {
            name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)
        }
        if not tensors:
            raise self.error(f"no key begins with '{prefix}', the first are {_list_names(self.tensors)}")
        return Checkpoint(self.path, self.expected, tensors)

    def shape(self, name: str, *, axes: int = 2) -> TensorShape:
        """Return the shape of a tensor that sizes are read from.

        Args:
            name: name of the tensor.
            axes: required number of axes: 2 for a linear layer or a table, 4 for a convolution.

        Raises:
            InvalidInput: it is not there, or has another number of axes.
        """
        if name not in self.tensors:
            raise self.error(f"'{name}' is missing, the first keys are {_list_names(self.tensors)}")
        shape = tuple(self.tensors[name].shape)
        if len(shape) != axes or 0 in shape:
            raise self.error(f"'{name}' is {_format_shape(shape)}, expected {axes} axes, none of them empty")
        return shape

    def count(self, prefix: str) -> int:
        """Count the numbered modules after a prefix: with `layers.0.weight` and `layers.1.weight`, `layers.` has 2.

        Raises:
            InvalidInput: there are none, or a number is larger than a file with so many tensors can have.
        """
        numbered = re.compile(re.escape(prefix) + r"(\d+)\.")
        found = [int(match[1]) for match in map(numbered.match, self.tensors) if match]
        if not found:
            raise self.error(f"no key begins with '{prefix}0', the first are {_list_names(self.tensors)}")
        if max(found) >= len(self.tensors):
            raise self.error(f"'{prefix}{max(found)}' is one of more modules than the file has tensors")
        return max(found) + 1

    def config_value(self, name: str, published: Any | None) -> Any:
        """Return a number that does not follow from shapes: from the `config.json` beside the file, or as published.

        Args:
            name: its name in the authors' constructor; a dot leads into an object.
            published: number of the published sizes; None = the sizes are others.

        Raises:
            InvalidInput: neither is there, or it is no number above 0.
        """
        file = self.path.parent / "config.json"
        value: Any = read_config(file) if file.is_file() else {}
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is None and published is None:
            raise self.error(
                f"its sizes are not the published ones, for others a config.json beside it must say '{name}'"
            )
        if value is None:
            return published
        wanted = int | float if name in FRACTIONS else int
        if not isinstance(value, wanted) or isinstance(value, bool) or value <= 0:
            raise self.error(f"the config.json beside it says {name} {str(value)[:60]!r}, expected a number above 0")
        return value

    def check(
        self, *, missing: list[str], unknown: list[str], shapes: list[tuple[str, TensorShape, TensorShape]]
    ) -> None:
        """Check that there are no differences.

        Args:
            missing: keys of the module that the file lacks.
            unknown: keys of the file that the module lacks.
            shapes: (key, shape in the file, shape in the module) where shapes differ.

        Raises:
            InvalidInput: there is a difference.
        """
        mismatches = [
            f"'{name}' is {_format_shape(got)}, expected {_format_shape(wanted)}" for name, got, wanted in shapes
        ]
        differences = [
            f"{what} {_list_names(keys)}" + (f" and {more} more" if (more := len(keys) - NAMED_DIFFERENCES) > 0 else "")
            for keys, what in ((missing, "missing"), (unknown, "unknown"))
            if keys
        ]
        if mismatches or differences:
            raise self.error("; ".join(differences + mismatches[:NAMED_DIFFERENCES]))

    def error(self, difference: str) -> InvalidInput:
        """Return the error that names the expected checkpoint and the difference."""
        return InvalidInput(f"{self.path.name} is not {self.expected}: {difference}")


def read_config(path: Path) -> dict[str, Any]:
    """Read a `config.json`.

    Raises:
        InvalidInput: it is missing or no JSON object.
    """
    try:
        return read_json_object(path)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}); download the folder again") from None


def fill_module(build: Callable[[], Module], state: Mapping[str, Tensor], checkpoint: Checkpoint) -> Module:
    """Build a module on the meta device and assign the checkpoint's tensors to it, without a copy.

    Args:
        build: constructor of the module, which has no buffers beside those in the checkpoint.
        state: tensors under the module's names, of any float type.
        checkpoint: checkpoint of the tensors, for messages.

    Raises:
        InvalidInput: they do not fit.
    """
    try:
        with torch.device("meta"):
            module = build()
    except _CANNOT_BE_BUILT as error:
        raise checkpoint.error(f"no such network can be built ({_first_line(error)})") from None
    wanted = module.state_dict()
    checkpoint.check(
        missing=[name for name in wanted if name not in state],
        unknown=[name for name in state if name not in wanted],
        shapes=[
            (name, tuple(state[name].shape), tuple(tensor.shape))
            for name, tensor in wanted.items()
            if name in state and state[name].shape != tensor.shape
        ],
    )
    module.load_state_dict({name: to_float32(tensor) for name, tensor in state.items()}, assign=True)
    return module


def fill_pretrained(
    model_class: type[PreTrainedModel], config: PretrainedConfig, state: Mapping[str, Tensor], checkpoint: Checkpoint
) -> Any:
    """Build a transformers model from tensors; the library renames keys of its older versions.

    Raises:
        InvalidInput: the tensors do not fit.
    """
    try:
        with _quiet_transformers():
            # No checkpoint folder, only tensors: nothing is copied.
            model, found = model_class.from_pretrained(
                None,
                config=config,
                state_dict={name: to_float32(tensor) for name, tensor in state.items()},
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # reported below
                output_loading_info=True,
            )
    except _CANNOT_BE_BUILT as error:
        raise checkpoint.error(f"no such network can be built ({_first_line(error)})") from None
    checkpoint.check(
        missing=sorted(found["missing_keys"]),
        unknown=sorted(found["unexpected_keys"]),
        shapes=[(name, tuple(got), tuple(wanted)) for name, got, wanted in sorted(found["mismatched_keys"])],
    )
    return model


def to_float32(tensor: Tensor) -> Tensor:
    """Return a tensor of floats in float32, and any other tensor unchanged."""
    return tensor.float() if tensor.is_floating_point() else tensor


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Suppress the library's progress bar and its table of differences."""
    level, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(transformers_logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _list_names(names: Mapping[str, Any] | list[str]) -> str:
    return ", ".join(f"'{name}'" for name in list(names)[:NAMED_DIFFERENCES]) or "none"


def _format_shape(shape: TensorShape) -> str:
    return "x".join(map(str, shape)) or "a single number"
