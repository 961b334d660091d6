"""Refuse a checkpoint that would take more memory than its file, before it is read.

A zip of a kilobyte may unpack to gigabytes, a pickle of a line may ask for as much, and a tensor may repeat one number
a billion times. Files that torch.save and safetensors write do none of this.
"""

from __future__ import annotations

import mmap
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from respin.errors import InvalidInput

MAX_HEADER_BYTES = 64 * 2**20
"""Longest description of a checkpoint's tensors, bytes; that of the largest published one has some 4 MB."""

MAX_RECORDS = 200_000
"""Most records of one file; the largest published one has some 4,000."""

MAX_TENSOR_BYTES = 32 * 2**30
"""Most bytes of a file's tensors, unless the file itself is larger; the largest published one has some 10 GB."""

_ALLOCATIONS = re.compile(
    rb"c(builtins|__builtin__)\n(bytearray)\n|c(torch)(?:\.\w+)*\n(Tensor|\w*Tensor|UntypedStorage)\n"
)
"""Names in a pickle whose calls take as much memory as their argument says."""


def check_zip(path: Path) -> None:
    """Check a file that torch.save wrote since 1.6.

    Raises:
        InvalidInput: its records are packed, or longer than the file, or its pickle is too long or asks for memory.
        zipfile.BadZipFile: it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        unpacked = sum(record.file_size for record in records)
        if any(record.compress_type != zipfile.ZIP_STORED for record in records) or unpacked > path.stat().st_size:
            raise _too_large(path, f"unpacks to {unpacked} bytes, more than the file has")
        if len(records) > MAX_RECORDS:
            raise _too_large(path, f"has {len(records)} records, more than {MAX_RECORDS}")
        for record in records:
            if record.filename.endswith(".pkl"):
                if record.file_size > MAX_HEADER_BYTES:
                    raise _too_large(path, f"has a pickle of {record.file_size} bytes, more than {MAX_HEADER_BYTES}")
                _check_calls(path, archive.read(record))


def check_legacy_pickle(path: Path) -> None:
    """Check a file that torch.save wrote before 1.6.

    Raises:
        InvalidInput: it asks for memory.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        _check_calls(path, content)


def check_safetensors(path: Path) -> None:
    """Check the length of a header; what it says about the tensors, the library itself compares with the file.

    Raises:
        InvalidInput: the header is longer than any checkpoint's.
        struct.error: the file ends before it.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
    # A header that is longer than the file is refused by the library.
    if MAX_HEADER_BYTES < length <= path.stat().st_size:
        raise _too_large(path, f"has a header of {length} bytes, more than {MAX_HEADER_BYTES}")


def check_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Check that tensors are as large as what is stored of them.

    A float32 tensor that repeats its numbers takes no memory, and is limited by what its graph would take on disk;
    floats of other types are copied when they become float32.

    Raises:
        InvalidInput: a tensor is not dense, or repeats its numbers, or many share them.
    """
    total = copied = 0
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise InvalidInput(f"{path.name}: '{name[:60]}' is no dense tensor; get the file from its authors")
        size = tensor.numel() * tensor.element_size()
        total += size
        if tensor.is_floating_point() and tensor.dtype is not torch.float32:
            copied += size
        if copied > 2 * path.stat().st_size or total > max(MAX_TENSOR_BYTES, 2 * path.stat().st_size):
            raise _too_large(path, f"has tensors that are larger than the file, such as '{name[:60]}'")


def _check_calls(path: Path, pickle: bytes | mmap.mmap) -> None:
    if found := _ALLOCATIONS.search(pickle):
        name = b".".join(part for part in found.groups() if part).decode()
        raise InvalidInput(f"{path.name} asks for {name}, which no weights need; get the file from its authors")


def _too_large(path: Path, what: str) -> InvalidInput:
    return InvalidInput(f"{path.name} {what}; it was not read: get the file from its authors")
