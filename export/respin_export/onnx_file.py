"""Write ONNX files: external weights of large graphs, simplification, and replacing an old graph."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

EXTERNAL_ABOVE_BYTES = 1_000_000_000
"""Size of weights above which they are external: a protobuf holds 2 GB, and writing one takes five times its size."""

SLIM_LIMIT_BYTES = 600_000_000
"""Size above which graphs are not simplified: onnxslim needs eight times a graph's size in memory."""


def write_program(program: torch.onnx.ONNXProgram, path: Path, *, external_above_bytes: int) -> None:
    """Write a traced program, and free its weights.

    Args:
        program: program of torch.onnx; it has no weights afterwards.
        path: path of the graph.
        external_above_bytes: larger weights are written to `<path>.data`.
    """
    weights = list(program.model.graph.initializers.values())
    size_bytes = sum(value.const_value.nbytes for value in weights if value.const_value is not None)
    program.save(path, external_data=size_bytes > external_above_bytes)
    # onnxscript's global rewrite rules keep a reference to the last graph.
    for value in weights:
        value.const_value = None


def slim(path: Path) -> bool:
    """Simplify a graph with onnxslim, in place.

    Args:
        path: path of the graph; one above `SLIM_LIMIT_BYTES` with its weights stays unchanged.

    Returns:
        Whether the graph was simplified.
    """
    if sum(file.stat().st_size for file in graph_files(path)) > SLIM_LIMIT_BYTES:
        return False
    importlib.import_module("onnxslim").slim(str(path), str(path))
    return True


def graph_files(path: Path) -> list[Path]:
    """Return the files of a graph: itself and its external weights."""
    return sorted(path.parent.glob(f"{path.name}*"))


def replace_graph(draft: Path, path: Path) -> None:
    """Move a graph and its weights to their place, and remove the external weights of the graph before.

    Args:
        draft: path of the graph, with the same file name in another folder of the same disk.
        path: destination.
    """
    new = [file.name for file in graph_files(draft)]
    for file in graph_files(path):
        if file.name not in new:
            file.unlink()
    for name in new:
        (draft.parent / name).replace(path.parent / name)
