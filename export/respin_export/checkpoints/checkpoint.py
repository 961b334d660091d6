"""A checkpoint's tensors with what is needed to refuse them in words, and the two ways to fill a module with them."""

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

NAMED_DIFFERENCES = 3
"""How many keys of each kind a refusal names."""


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and where they come from.

    Args:
        path: of the file, or of the folder.
        expected: what it is meant to be, for people: "a SAM checkpoint (sam_vit_l_0b3195.pth)".
        tensors: by the authors' names.
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
        """The tensors whose names begin with a prefix, without it.

        Raises:
            InvalidInput: there are none.
        """
        tensors = {
            name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)
        }
        if not tensors:
            raise self.error(f"no key begins with '{prefix}', the first are {_listed(self.tensors)}")
        return Checkpoint(self.path, self.expected, tensors)

    def shape(self, name: str, *, axes: int = 2) -> TensorShape:
        """The shape of a tensor that sizes are read from.

        Args:
            name: of the tensor.
            axes: that it must have: 2 of a linear layer or a table, 4 of a convolution.

        Raises:
            InvalidInput: it is not there, or has another number of axes.
        """
        if name not in self.tensors:
            raise self.error(f"'{name}' is missing, the first keys are {_listed(self.tensors)}")
        shape = tuple(self.tensors[name].shape)
        if len(shape) != axes or 0 in shape:
            raise self.error(f"'{name}' is {_shown(shape)}, expected {axes} axes, none of them empty")
        return shape

    def count(self, prefix: str) -> int:
        """How many numbered modules follow a prefix: of `layers.0.weight` and `layers.1.weight`, 2 follow `layers.`.

        Raises:
            InvalidInput: none does.
        """
        numbered = re.compile(re.escape(prefix) + r"(\d+)\.")
        found = [int(match[1]) for match in map(numbered.match, self.tensors) if match]
        if not found:
            raise self.error(f"no key begins with '{prefix}0', the first are {_listed(self.tensors)}")
        return max(found) + 1

    def config_value(self, name: str, published: Any | None) -> Any:
        """A number that no shape tells: from the `config.json` beside the file, or that of the published sizes.

        Args:
            name: of it in the authors' constructor; a dot leads into an object.
            published: None where the sizes are not the published ones.

        Raises:
            InvalidInput: neither is there.
        """
        file = self.path.parent / "config.json"
        value: Any = read_config(file) if file.is_file() else {}
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is None and published is None:
            raise self.error(
                f"its sizes are not the published ones, for others a config.json beside it must say '{name}'"
            )
        return published if value is None else value

    def compare(self, state: Mapping[str, Tensor], wanted: Mapping[str, TensorShape]) -> None:
        """Refuse tensors that do not fit a module.

        Args:
            state: under the module's names.
            wanted: the module's own shapes.

        Raises:
            InvalidInput: names or shapes differ; it tells the first.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        both = wanted.keys() & shapes.keys()
        self.check(
            missing=[name for name in wanted if name not in shapes],
            unknown=[name for name in shapes if name not in wanted],
            shapes=[
                (name, shapes[name], wanted[name]) for name in wanted if name in both and shapes[name] != wanted[name]
            ],
        )

    def check(
        self, *, missing: list[str], unknown: list[str], shapes: list[tuple[str, TensorShape, TensorShape]]
    ) -> None:
        """Refuse if anything differs.

        Args:
            missing: keys that a module needs and the file lacks.
            unknown: keys that the module has no use for.
            shapes: key, the file's shape, the module's shape.

        Raises:
            InvalidInput: something is in one of them.
        """
        mismatches = [f"'{name}' is {_shown(got)}, expected {_shown(wanted)}" for name, got, wanted in shapes]
        differences = [
            f"{what} {_listed(keys)}" + (f" and {more} more" if (more := len(keys) - NAMED_DIFFERENCES) > 0 else "")
            for keys, what in ((missing, "missing"), (unknown, "unknown"))
            if keys
        ]
        if mismatches or differences:
            raise self.error("; ".join(differences + mismatches[:NAMED_DIFFERENCES]))

    def error(self, difference: str) -> InvalidInput:
        """The error that says what was expected and how the file differs."""
        return InvalidInput(f"{self.path.name} is not {self.expected}: {difference}")


def read_config(path: Path) -> dict[str, Any]:
    """A `config.json`.

    Raises:
        InvalidInput: it is missing or no JSON object.
    """
    try:
        return read_json_object(path)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}); download the folder again") from None


def fill_module(build: Callable[[], Module], state: Mapping[str, Tensor], checkpoint: Checkpoint) -> Module:
    """Build a module without memory of its own and let the checkpoint's tensors be its weights.

    Args:
        build: its constructor; it must have no buffers beside those in the checkpoint.
        state: under the module's names, of any float type.
        checkpoint: that they come from.

    Raises:
        InvalidInput: they do not fit.
    """
    try:
        with torch.device("meta"):
            module = build()
    except (ValueError, ZeroDivisionError) as error:
        raise checkpoint.error(f"no such network can be built ({_first_line(error)})") from None
    checkpoint.compare(state, {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()})
    module.load_state_dict({name: to_float32(tensor) for name, tensor in state.items()}, assign=True)
    return module


def fill_pretrained(
    model_class: type[PreTrainedModel], config: PretrainedConfig, state: Mapping[str, Tensor], checkpoint: Checkpoint
) -> Any:
    """The same for a class of transformers, which renames what its older versions named otherwise.

    Raises:
        InvalidInput: the tensors do not fit.
    """
    try:
        with _quiet_transformers():
            # An empty module and tensors that are taken as they are: nothing is copied.
            model, found = model_class.from_pretrained(
                None,
                config=config,
                state_dict={name: to_float32(tensor) for name, tensor in state.items()},
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # told below, in our words
                output_loading_info=True,
            )
    except (ValueError, ZeroDivisionError) as error:
        raise checkpoint.error(f"no such network can be built ({_first_line(error)})") from None
    checkpoint.check(
        missing=sorted(found["missing_keys"]),
        unknown=sorted(found["unexpected_keys"]),
        shapes=[(name, tuple(got), tuple(wanted)) for name, got, wanted in sorted(found["mismatched_keys"])],
    )
    return model


def to_float32(tensor: Tensor) -> Tensor:
    """A tensor of floats in float32, which is a copy only where it is of another type; any other as it is."""
    return tensor.float() if tensor.is_floating_point() else tensor


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Hold back the library's progress bar and its table of differences."""
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


def _listed(names: Mapping[str, Any] | list[str]) -> str:
    return ", ".join(f"'{name}'" for name in list(names)[:NAMED_DIFFERENCES]) or "none"


def _shown(shape: TensorShape) -> str:
    return "x".join(map(str, shape)) or "a single number"
