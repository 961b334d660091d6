"""Writing ONNX files: weights beside large graphs, and putting a new graph in an old one's place."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from respin.errors import InvalidInput

if TYPE_CHECKING:
    import torch

EXTERNAL_ABOVE_BYTES = 1_000_000_000
"""A protobuf holds 2 GB, and writing one takes five times its size in memory."""

SLIM_LIMIT_BYTES = 600_000_000
"""onnxslim needs eight times a graph's size in memory."""


def write_program(program: torch.onnx.ONNXProgram, path: Path, *, external_above_bytes: int) -> None:
    """Write a traced program, and let its weights go.

    Args:
        program: of torch.onnx; of no use afterwards.
        path: of the graph.
        external_above_bytes: weights beyond this go into `<path>.data`.
    """
    weights = list(program.model.graph.initializers.values())
    size_bytes = sum(value.const_value.nbytes for value in weights if value.const_value is not None)
    program.save(path, external_data=size_bytes > external_above_bytes)
    # onnxscript's rewrite rules, which live as long as the process, hold on to the last graph that they saw.
    for value in weights:
        value.const_value = None


def check_slim_installed() -> None:
    """Make sure that onnxslim is there.

    Raises:
        InvalidInput: it is not.
    """
    if importlib.util.find_spec("onnxslim") is None:
        raise InvalidInput(
            "--slim needs onnxslim, which is not installed; pip install 'respin[export]', or leave it out"
        )


def slim(path: Path) -> bool:
    """Fold constants and merge operators of a file, in its place.

    Args:
        path: of the graph; one above `SLIM_LIMIT_BYTES` with its weights stays as it is.

    Returns:
        whether it was slimmed.
    """
    if sum(file.stat().st_size for file in graph_files(path)) > SLIM_LIMIT_BYTES:
        return False
    importlib.import_module("onnxslim").slim(str(path), str(path))
    return True


def graph_files(path: Path) -> list[Path]:
    """A graph and what lies beside it."""
    return sorted(path.parent.glob(f"{path.name}*"))


def replace_graph(draft: Path, path: Path) -> None:
    """Move a graph and its weights to their place; weights of the graph that was there before go.

    Args:
        draft: of the same file name, in another folder of the same disk.
        path: where it belongs.
    """
    new = [file.name for file in graph_files(draft)]
    for file in graph_files(path):
        if file.name not in new:
            file.unlink()
    for name in new:
        (draft.parent / name).replace(path.parent / name)
