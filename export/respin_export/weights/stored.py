"""Files of tensors, written tensor by tensor, so that a file of any size needs no more memory than its largest.

The libraries' own writers take a whole checkpoint in memory.
"""

from __future__ import annotations

import collections
import json
import pickle
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch._utils import _rebuild_tensor_v2

from respin.specs import Array

ALIGNMENT_BYTES = 64
"""Of each tensor's first byte in a torch file, so that it can be mapped into memory."""

_STORAGES: dict[str, type] = {
    "float32": torch.FloatStorage,
    "float16": torch.HalfStorage,
    "int64": torch.LongStorage,
    "int32": torch.IntStorage,
}

_SAFETENSORS_NAMES = {"float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32"}


@dataclass(frozen=True)
class Stored:
    """A tensor of a file, its values still to come.

    Args:
        key: its name in the file.
        shape: () for a scalar.
        dtype: numpy's name: float32, float16, int64 or int32.
        shared: tensors that have the same one here are one tensor under several names; None = it is by itself.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    shared: str | None = None

    @property
    def size_bytes(self) -> int:
        """Of its values."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


ValueOf = Callable[[Stored], Array]


def unshared(tensors: Iterable[Stored]) -> list[Stored]:
    """The tensors that take room: of those that share, the first."""
    return list({tensor.shared or tensor.key: tensor for tensor in reversed(list(tensors))}.values())[::-1]


@dataclass(frozen=True)
class _Record:
    tensor: Stored
    number: str


class _Pickler(pickle.Pickler):
    """Pickles `Stored` as torch pickles a tensor: a call of `_rebuild_tensor_v2` that names a record of the archive."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, protocol=2)
        self.records: dict[str, _Record] = {}

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, _Record):
            return None
        tensor = obj.tensor
        return ("storage", _STORAGES[tensor.dtype], obj.number, "cpu", int(np.prod(tensor.shape, dtype=np.int64)))

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, Stored):
            return NotImplemented
        record = self.records.setdefault(obj.shared or obj.key, _Record(obj, str(len(self.records))))
        strides = tuple(int(np.prod(obj.shape[axis + 1 :], dtype=np.int64)) for axis in range(len(obj.shape)))
        return _rebuild_tensor_v2, (record, 0, obj.shape, strides, False, collections.OrderedDict())


def save_torch(path: Path, contents: object, value_of: ValueOf) -> None:
    """Write what `torch.load` reads back with a tensor for every `Stored` in `contents`.

    Args:
        path: to write to.
        contents: what pickles; at any depth, `Stored` where tensors shall be.
        value_of: asked for each tensor's values in turn.
    """
    pickled = BytesIO()
    pickler = _Pickler(pickled)
    pickler.dump(contents)
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        _write_record(file, archive, "data.pkl", pickled.getvalue())
        _write_record(file, archive, "byteorder", b"little")
        for record in pickler.records.values():
            _write_record(file, archive, f"data/{record.number}", _bytes_of(value_of(record.tensor)))
        _write_record(file, archive, "version", b"3\n")


def _write_record(file: BinaryIO, archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
    # The date is fixed so that the same values make the same file.
    info = zipfile.ZipInfo(f"archive/{name}", date_time=(1980, 1, 1, 0, 0, 0))
    # Of a record, the header before its name has 30 bytes, and that of the extra field, which pads, has 4.
    begin = file.tell() + 30 + len(info.filename) + 4
    info.extra = b"FB" + (padding := -begin % ALIGNMENT_BYTES).to_bytes(2, "little") + bytes(padding)
    archive.writestr(info, content)


def save_torch_legacy(path: Path, contents: Iterable[Stored], value_of: ValueOf) -> None:
    """Write a state dict in the form of torch before 1.6: one pickle after another, no archive; all in memory."""
    state = collections.OrderedDict((tensor.key, torch.from_numpy(value_of(tensor))) for tensor in contents)
    torch.save(state, path, _use_new_zipfile_serialization=False)


def save_safetensors(path: Path, contents: Iterable[Stored], value_of: ValueOf) -> None:
    """Write a safetensors file (huggingface/safetensors, README, "Format")."""
    tensors = list(contents)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        begin, end = end, end + tensor.size_bytes
        dtype = _SAFETENSORS_NAMES[tensor.dtype]
        header[tensor.key] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little"))
        file.write(encoded)
        for tensor in tensors:
            file.write(_bytes_of(value_of(tensor)))


def _bytes_of(values: Array) -> memoryview:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
