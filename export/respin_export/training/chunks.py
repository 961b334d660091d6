"""Rendered training data on disk, in chunks that are mapped into memory.

A data set is a folder of chunks; a chunk is a folder with one `<name>.npy` for each array, whose first axis counts the
samples. Chunks are independent, so several processes render them at the same time, and an interrupted run continues.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from respin.specs import Array

Render = Callable[[Sequence[int]], Mapping[str, Array]]
"""Function that renders the samples of some seeds; it is pickled for other processes."""


def render_chunks(
    folder: Path, render: Render, seeds: Sequence[int], *, chunk: int, jobs: int, on_chunk: Callable[[int], None]
) -> None:
    """Render the missing chunks of a data set.

    Args:
        folder: folder of the data set.
        render: renders the arrays of a chunk.
        seeds: seeds of all samples.
        chunk: number of seeds in a chunk.
        jobs: number of processes.
        on_chunk: called with the number of seeds after each chunk.
    """
    parts = {
        folder / f"chunk-{start // chunk:04}": seeds[start : start + chunk] for start in range(0, len(seeds), chunk)
    }
    missing = [(path, part) for path, part in parts.items() if not path.is_dir()]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for count in pool.imap_unordered(partial(_write_chunk, render), missing):
            on_chunk(count)


def _write_chunk(render: Render, task: tuple[Path, Sequence[int]]) -> int:
    path, seeds = task
    draft = path.with_suffix(f".draft-{os.getpid()}")
    draft.mkdir(parents=True, exist_ok=True)
    for name, array in render(seeds).items():
        np.save(draft / f"{name}.npy", array)
    if path.exists():
        shutil.rmtree(draft)
    else:
        draft.rename(path)
    return len(seeds)


class Chunks:
    """The chunks of a data set as one list of samples.

    Args:
        folder: folder of the data set.
        most: largest number of chunks to use; None = all.
    """

    def __init__(self, folder: Path, most: int | None = None) -> None:
        paths = sorted(path for path in folder.glob("chunk-*") if path.suffix == "")[:most]
        if not paths:
            raise FileNotFoundError(f"no training data in {folder.name}; render it with `respin train`")
        self._chunks = [{file.stem: np.load(file, mmap_mode="r") for file in path.glob("*.npy")} for path in paths]
        lengths = [len(next(iter(chunk.values()))) for chunk in self._chunks]
        self._starts = np.concatenate([[0], np.cumsum(lengths)])

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self._starts[-1])

    def sample(self, index: int) -> dict[str, Array]:
        """Return the arrays of one sample, without a copy."""
        which = int(np.searchsorted(self._starts, index, side="right")) - 1
        offset = index - int(self._starts[which])
        return {name: array[offset] for name, array in self._chunks[which].items()}

    def column(self, name: str) -> Array:
        """Return one array of all samples, copied into memory."""
        return np.concatenate([chunk[name] for chunk in self._chunks])
