"""Seeded random checkpoints in the true layouts of the published ones, for tests and benchmarks."""

from __future__ import annotations

import json
import mmap
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from safetensors.torch import save_file
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.serialization import set_default_mmap_options, skip_data
from torch.utils._pytree import tree_leaves, tree_map_only

from respin.errors import InvalidInput
from respin.model_set import Sizes
from respin_export.disk import FreeBytes, check_room, free_bytes
from respin_export.originals.fill import fill
from respin_export.weights.catalogue import Chosen
from respin_export.weights.layouts import Layout, LayoutSize, checkpoint_layout, optimizer_state
from respin_export.weights.verify import SYNTHESIZED

SIZES_FILE = "sizes.json"
"""File beside the checkpoints with the fields of `respin.model_set.Sizes`, where they are not the published ones."""

MINI_SIZES = Sizes(sam_side=256, view_side=256, inpaint_side=256, detection_short_side=400, detection_long_side=667)
"""Image sizes of mini weights: SAM's positions are made for this side, the others are small to be quick."""

_LIGHTNING = {"epoch": 0, "global_step": 105_000, "pytorch-lightning_version": "1.4.2", "callbacks": {}}
"""Entries of Lightning 1.4, which trained Zero123 (zero123/requirements.txt)."""


@dataclass(frozen=True)
class Synthesizer:
    """A writer of random checkpoints.

    Args:
        folder: the weights folder to make.
        size: "mini" or "full".
        seed: the same seed gives the same values.
        progress: shows one bar for each file.
        optimizer_state: write Adam's moments into Zero123's file, as in the published one; nothing reads them.
        free: function from a folder to the free bytes of its file system.
    """

    folder: Path
    size: LayoutSize
    seed: int
    progress: Progress
    optimizer_state: bool = False
    free: FreeBytes = free_bytes

    def write(self, wanted: Sequence[Chosen]) -> list[Path]:
        """Write checkpoints, each in place of its files from an earlier run.

        Returns:
            the files of weights.

        Raises:
            InvalidInput: one is named twice, or the folder holds weights of another origin, or has no room.
        """
        names = [chosen.checkpoint.name for chosen in wanted]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InvalidInput(f"{twice[0]} is named twice; a weights folder holds one variant of each checkpoint")
        self._check_folder()
        layouts = {chosen: checkpoint_layout(chosen.name, self.size) for chosen in wanted}
        files = {
            self.folder / chosen.checkpoint.name / path: self._contents(chosen, state)
            for chosen, layout in layouts.items()
            for path, state in layout.files.items()
        }
        needed = sum(_size_bytes(contents) for contents in files.values())
        check_room("the weights need", needed, self.folder, free=self.free, remedy="make room, or name another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / SYNTHESIZED).write_text(json.dumps({"size": self.size, "seed": self.seed}) + "\n")
        if self.size == "mini":
            (self.folder / SIZES_FILE).write_text(json.dumps(asdict(MINI_SIZES), indent=1) + "\n")
        for chosen, layout in layouts.items():
            folder = self.folder / chosen.checkpoint.name
            shutil.rmtree(folder, ignore_errors=True)
            for path, config in layout.configs.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(json.dumps(config, indent=1) + "\n")
        for file, contents in files.items():
            self._write(file, contents)
        return list(files)

    def _check_folder(self) -> None:
        marker = self.folder / SYNTHESIZED
        if not marker.is_file():
            if self.folder.is_dir() and any(self.folder.iterdir()):
                raise InvalidInput(
                    f"'{self.folder}' holds files that this command did not make; name an empty or new folder"
                )
            return
        if (before := json.loads(marker.read_text())["size"]) != self.size:
            raise InvalidInput(f"'{self.folder}' holds weights of size {before}; name another folder for {self.size}")

    def _write(self, path: Path, contents: Any) -> None:
        task = self.progress.add_task(path.name, total=_size_bytes(contents))

        def value(name: str, tensor: Tensor) -> Tensor:
            self.progress.advance(task, tensor.nbytes)
            return torch.from_numpy(fill(name, tuple(tensor.shape), self.seed)).to(tensor.dtype)

        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        if path.suffix == ".safetensors":
            save_file({name: value(name, tensor) for name, tensor in contents.items()}, part, {"format": "pt"})
        elif path.suffix == ".pt":
            # By its date the published EDSR is older than torch 1.6, which brought the archive.
            state = {name: value(name, tensor) for name, tensor in contents.items()}
            torch.save(state, part, _use_new_zipfile_serialization=False)
        else:
            save_mapped(part, contents, value)
        part.replace(path)

    def _contents(self, chosen: Chosen, state: Layout) -> Any:
        """Return what a file holds around its tensors."""
        match chosen.name:
            case "grounding_dino:original":
                return {"model": state}
            case "inpaint:ckpt":
                return {"state_dict": state}
            case "zero123:original":
                optimizers = [optimizer_state(state)] if self.optimizer_state else []
                return {**_LIGHTNING, "state_dict": state, "optimizer_states": optimizers}
            case _:
                return state


def _size_bytes(contents: Any) -> int:
    tensors = {id(leaf): leaf for leaf in tree_leaves(contents) if isinstance(leaf, Tensor)}
    return sum(tensor.nbytes for tensor in tensors.values())


def save_mapped(path: Path, contents: Any, value: Callable[[str, Tensor], Tensor]) -> None:
    """Write a file for `torch.load` tensor by tensor, with no more memory than its largest one.

    torch writes the file without values, which are then copied into a mapping of it.

    Args:
        path: path of the file.
        contents: dictionaries and lists with tensors of the meta device; one tensor under two names is stored once.
        value: called with a tensor's name in its dictionary and the tensor; returns its values.
    """
    fakes: dict[int, Tensor] = {}
    with FakeTensorMode():
        empty = tree_map_only(
            Tensor, lambda each: fakes.setdefault(id(each), torch.empty(each.shape, dtype=each.dtype)), contents
        )
    with skip_data(materialize_fake_tensors=True):
        torch.save(empty, path)
    with path.open("r+b") as file:
        # A page of a mapping that finds no room on the disk ends the process.
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    with set_default_mmap_options(mmap.MAP_SHARED):
        mapped = torch.load(path, weights_only=True, mmap=True)
    written = set()
    for name, tensor in _named_tensors(mapped):
        if tensor.data_ptr() not in written:
            tensor.copy_(value(name, tensor))
            written.add(tensor.data_ptr())


def _named_tensors(contents: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(contents, Tensor):
        yield name, contents
    elif isinstance(contents, dict | list):
        for key, each in contents.items() if isinstance(contents, dict) else enumerate(contents):
            yield from _named_tensors(each, str(key))
