"""Seeded random checkpoints in the true layouts of the published ones, for tests and benchmarks."""

from __future__ import annotations

import json
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from respin.errors import InvalidInput
from respin.model_set import Sizes
from respin_export.weights import hub_folders, layouts
from respin_export.weights.catalogue import Chosen
from respin_export.weights.download import free_bytes
from respin_export.weights.fill import value_of
from respin_export.weights.layouts import Size
from respin_export.weights.stored import Stored, save_safetensors, save_torch, save_torch_legacy, unshared
from respin_export.weights.verify import SYNTHESIZED

SIZES_FILE = "sizes.json"
"""Beside the checkpoints: the fields of `respin.model_set.Sizes`, where they are not the published ones."""

MINI_SIZES = Sizes(sam_side=256, view_side=256, inpaint_side=256, detection_short_side=400, detection_long_side=667)
"""What mini weights fix: SAM's positions are made for this side, the others are small to be quick."""

MINI_CONFIGS: dict[str, dict[str, Any]] = {
    "grounding_dino:original": {"bert": {"num_attention_heads": 4}},
    "edsr:full": {"res_scale": 0.1},
    "edsr:baseline": {"res_scale": 0.1},
}
"""config.json beside mini checkpoints: numbers that no tensor's shape tells, under the authors' names."""

# As Lightning 1.4, which trained it (zero123/requirements.txt), writes them.
_LIGHTNING = {"epoch": 0, "global_step": 105_000, "pytorch-lightning_version": "1.4.2"}


@dataclass(frozen=True)
class _File:
    """A file to write: what its tensors are, and how it is stored."""

    path: Path
    tensors: Sequence[Stored]
    save: Callable[[Path, Callable[[Stored], Any]], None]

    @property
    def size_bytes(self) -> int:
        """Of all values."""
        return sum(tensor.size_bytes for tensor in unshared(self.tensors))


@dataclass(frozen=True)
class Synthesizer:
    """Writes checkpoints.

    Args:
        folder: the weights folder to make.
        size: "mini" or "full".
        seed: of all values.
        progress: shows one bar a file.
        optimizer_state: whether Zero123's file has it, as the published one; nothing reads it.
        room: bytes free where a folder lies.
    """

    folder: Path
    size: Size
    seed: int
    progress: Progress
    optimizer_state: bool = False
    room: Callable[[Path], int] = free_bytes

    def write(self, wanted: Sequence[Chosen]) -> list[Path]:
        """Write checkpoints, each in place of what a run before made of it.

        Returns:
            the files of weights.

        Raises:
            InvalidInput: one is named twice, or the folder holds weights that were not made here, or has no room.
        """
        names = [chosen.checkpoint.name for chosen in wanted]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InvalidInput(f"{twice[0]} is named twice; a weights folder holds one variant of each checkpoint")
        self._require_own()
        files = [file for chosen in wanted for file in self._files(chosen)]
        self._require_room(sum(file.size_bytes for file in files))
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / SYNTHESIZED).write_text(json.dumps({"size": self.size, "seed": self.seed}) + "\n")
        if self.size == "mini":
            (self.folder / SIZES_FILE).write_text(json.dumps(asdict(MINI_SIZES), indent=1) + "\n")
        for chosen in wanted:
            shutil.rmtree(self.folder / chosen.checkpoint.name, ignore_errors=True)
            for path, text in self._configs(chosen).items():
                (target := self.folder / chosen.checkpoint.name / path).parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
        for file in files:
            self._write(file)
        return [file.path for file in files]

    def _require_own(self) -> None:
        marker = self.folder / SYNTHESIZED
        if not marker.is_file():
            if self.folder.is_dir() and any(self.folder.iterdir()):
                raise InvalidInput(
                    f"'{self.folder}' holds files that this command did not make; name an empty or new folder"
                )
            return
        if (before := json.loads(marker.read_text())["size"]) != self.size:
            raise InvalidInput(f"'{self.folder}' holds weights of size {before}; name another folder for {self.size}")

    def _require_room(self, needed: int) -> None:
        if needed > (room := self.room(self.folder)):
            raise InvalidInput(
                f"{needed / 1e9:.1f} GB are to be written and {room / 1e9:.1f} GB are free for '{self.folder}'; "
                "make room, or name another folder"
            )

    def _write(self, file: _File) -> None:
        task = self.progress.add_task(file.path.name, total=file.size_bytes)

        def value(tensor: Stored) -> Any:
            values = value_of(tensor, self.seed)
            self.progress.advance(task, tensor.size_bytes)
            return values

        file.path.parent.mkdir(parents=True, exist_ok=True)
        part = file.path.with_name(f"{file.path.name}.part")
        file.save(part, value)
        part.replace(file.path)

    def _configs(self, chosen: Chosen) -> dict[str, str]:
        """The JSON files of a checkpoint by path: what its layout has, or what shapes alone cannot tell."""
        if chosen.checkpoint.name == "inpaint" and chosen.variant.name != "ckpt":
            return hub_folders.inpaint_configs(self.size)
        if chosen.name == "grounding_dino:transformers":
            return {"config.json": hub_folders.grounding_dino(self.size)[0]}
        beside = MINI_CONFIGS.get(chosen.name)
        return {"config.json": json.dumps(beside) + "\n"} if self.size == "mini" and beside else {}

    def _files(self, chosen: Chosen) -> list[_File]:
        folder = self.folder / chosen.checkpoint.name
        weights = [file.path for file in chosen.variant.files if file.is_weights]
        if chosen.checkpoint.name == "inpaint" and chosen.variant.name != "ckpt":
            dtype = "float16" if chosen.variant.name == "fp16" else "float32"
            tensors = hub_folders.inpaint_tensors(self.size, dtype)
            return [_state_dict_file(folder / path, tensors[Path(path).parent.name]) for path in weights]
        if chosen.name == "grounding_dino:transformers":
            return [_state_dict_file(folder / weights[0], hub_folders.grounding_dino(self.size)[1])]
        return [self._single_file(chosen, folder / weights[0])]

    def _single_file(self, chosen: Chosen, path: Path) -> _File:
        match chosen.checkpoint.name:
            case "grounding_dino":
                return _wrapped_file(path, layouts.grounding_dino(self.size), lambda state: {"model": state})
            case "sam":
                return _state_dict_file(path, layouts.sam(self.size))
            case "edsr":
                tensors = layouts.edsr(self.size, chosen.variant.name)
                # By its date the published file is older than torch 1.6, which brought the archive.
                return _File(path, tensors, lambda part, value: save_torch_legacy(part, tensors, value))
            case "zero123":
                return self._zero123_file(path)
            case _:
                tensors = layouts.inpaint_ckpt(self.size, hub_folders.text_tensors(self.size))
                return _wrapped_file(path, tensors, lambda state: {"state_dict": state})

    def _zero123_file(self, path: Path) -> _File:
        optimizers = [layouts.optimizer_state(self.size)] if self.optimizer_state else []
        moments = [
            moment
            for optimizer in optimizers
            for each in optimizer["state"].values()
            for moment in each.values()
            if isinstance(moment, Stored)
        ]
        extras = {"callbacks": {}, "optimizer_states": optimizers, "lr_schedulers": []}
        tensors = layouts.zero123(self.size)
        file = _wrapped_file(path, tensors, lambda state: {**_LIGHTNING, "state_dict": state, **extras})
        return _File(path, [*tensors, *moments], file.save)


def _wrapped_file(path: Path, tensors: Sequence[Stored], wrap: Callable[[OrderedDict[str, Stored]], object]) -> _File:
    return _File(path, tensors, lambda part, value: save_torch(part, wrap(_state_dict(tensors)), value))


def _state_dict_file(path: Path, tensors: Sequence[Stored]) -> _File:
    if path.suffix == ".safetensors":
        return _File(path, tensors, lambda part, value: save_safetensors(part, tensors, value))
    return _wrapped_file(path, tensors, lambda state: state)


def _state_dict(tensors: Iterable[Stored]) -> OrderedDict[str, Stored]:
    return OrderedDict((tensor.key, tensor) for tensor in tensors)
