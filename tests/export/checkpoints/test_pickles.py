"""Files that strangers made: tensors come out, nothing is run, nothing is read before it is used."""

from __future__ import annotations

import argparse
import collections
import os
import struct
import zipfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from respin.errors import InvalidInput
from respin_export.checkpoints.pickles import read_tensors


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class ModelCheckpoint:
    """A callback's class, which old Lightning used as a key."""

    def __init__(self):
        self.best = 0.5


@pytest.fixture
def state():
    return {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.int32)}


def assert_equal(read, state):
    assert read.keys() == state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(read[name], tensor)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": s, "epoch": 3}])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_tensors_come_out_of_every_wrapping(tmp_path, state, wrap, legacy):
    path = tmp_path / "weights.pth"
    torch.save(wrap(state), path, _use_new_zipfile_serialization=not legacy)
    assert_equal(read_tensors(path), state)


def test_tensors_come_out_of_safetensors(tmp_path, state):
    save_file(state, tmp_path / "model.safetensors")
    assert_equal(read_tensors(tmp_path / "model.safetensors"), state)


def test_parameters_come_out_as_tensors_without_gradients(tmp_path):
    torch.save({"a": torch.nn.Parameter(torch.ones(2))}, tmp_path / "a.pt")
    assert not read_tensors(tmp_path / "a.pt")["a"].requires_grad


def test_lightnings_extras_do_no_harm(tmp_path, state):
    scheduler = collections.defaultdict(list, {"lrs": [1.0]})
    extras = {
        "epoch": 1,
        "callbacks": {ModelCheckpoint: {"best_model_score": np.float64(0.5), "dirpath": PurePosixPath("/tmp")}},
        "lr_schedulers": [scheduler, ModelCheckpoint()],
        "hyper_parameters": argparse.Namespace(lr=1e-4),
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2, 3)}}, "param_groups": [{"lr": 1e-4}]}],
    }
    torch.save({"state_dict": state, **extras}, tmp_path / "zero123-xl.ckpt")
    assert_equal(read_tensors(tmp_path / "zero123-xl.ckpt"), state)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize(
    "make_call",
    [
        lambda mark: Calls(os.system, f"touch '{mark}'"),
        lambda mark: Calls(os.mkdir, str(mark)),
        lambda mark: Calls(exec, f"open({str(mark)!r}, 'w').close()"),
        lambda mark: Calls(Path.touch, mark),
    ],
    ids=["os.system", "os.mkdir", "exec", "Path.touch"],
)
def test_nothing_in_a_file_is_ever_run(tmp_path, state, make_call, legacy):
    mark, path = tmp_path / "it ran", tmp_path / "bad.ckpt"
    torch.save({"state_dict": state, "x": make_call(mark)}, path, _use_new_zipfile_serialization=not legacy)
    # Refused, or read with something inert in its place.
    with suppress(InvalidInput):
        assert_equal(read_tensors(path), state)
    assert not mark.exists()
    # Reading the file would run its code.
    torch.load(path, weights_only=False)
    assert mark.exists()


def test_a_call_within_a_call_is_refused(tmp_path, state):
    torch.save({"state_dict": state, "x": Calls(Path.touch, tmp_path / "it ran")}, tmp_path / "bad.ckpt")
    with pytest.raises(InvalidInput, match=r"bad.ckpt asks for a call of its own making.* nothing of it was run"):
        read_tensors(tmp_path / "bad.ckpt")


def test_a_call_of_the_operating_system_is_refused_by_name(tmp_path, state):
    torch.save({"state_dict": state, "x": Calls(os.system, "true")}, tmp_path / "bad.ckpt")
    with pytest.raises(InvalidInput, match=r"bad.ckpt asks for posix.system, which no weights need; nothing"):
        read_tensors(tmp_path / "bad.ckpt")


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(InvalidInput, match="expected a checkpoint, not a pickled model"):
        read_tensors(tmp_path / "model.pt")


@pytest.mark.parametrize("share", [0.0005, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_truncated_file_is_refused(tmp_path, kind, share):
    state = {f"layer.{number}": torch.rand(64, 64) for number in range(4)}
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.ckpt")
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: max(18, int(share * len(whole)))])
    with pytest.raises(InvalidInput, match=r"^a\.\w+ (cannot be read|is not a PyTorch checkpoint).*download it again"):
        read_tensors(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"<!DOCTYPE html><html>", b"version https://git-lfs.github.com/spec/v1\n", b"\x89PNG\r\n\x1a\n" + bytes(99)],
    ids=["empty", "web page", "git-lfs pointer", "picture"],
)
def test_what_is_no_checkpoint_at_all_is_refused(tmp_path, content):
    for name in ("a.ckpt", "a.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidInput, match="download it again"):
            read_tensors(tmp_path / name)


def test_a_zip_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w") as archive:
        archive.writestr("photo.txt", "hello")
    with pytest.raises(InvalidInput, match=r"a\.ckpt cannot be read"):
        read_tensors(tmp_path / "a.ckpt")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"none\.ckpt is not a file"):
        read_tensors(tmp_path / "none.ckpt")


@pytest.mark.parametrize("name", ["a.ckpt", "a.safetensors"])
def test_tensors_lie_in_the_file_not_in_memory(tmp_path, name):
    state = {"a": torch.rand(512, 1024), "b": torch.rand(1024)}
    path = tmp_path / name
    save_file(state, path) if name.endswith("safetensors") else torch.save({"state_dict": state}, path)
    read = read_tensors(path)
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line]
    ranges = [tuple(int(end, 16) for end in line[0].split("-")) for line in mapped]
    for tensor in read.values():
        assert any(start <= tensor.data_ptr() < end for start, end in ranges)


def repacked(path, **options):
    """The zip at a path, written again."""
    with zipfile.ZipFile(path) as archive:
        content = {record.filename: archive.read(record) for record in archive.infolist()}
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def test_a_zip_that_unpacks_to_more_than_its_file_is_refused(tmp_path):
    path = tmp_path / "bomb.ckpt"
    torch.save({"a": torch.zeros(32 * 2**20)}, path)
    repacked(path, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    with pytest.raises(InvalidInput, match=r"bomb\.ckpt unpacks to \d+ bytes, more than the file has; it was not read"):
        read_tensors(path)


def test_a_pickle_of_a_zip_that_is_long_is_refused(tmp_path):
    path = tmp_path / "long.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + bytes(65 * 2**20))
    with pytest.raises(InvalidInput, match=r"has a pickle of \d+ bytes, more than 67108864"):
        read_tensors(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("function", [bytearray, torch.Tensor, torch.FloatTensor], ids=lambda each: each.__name__)
def test_a_pickle_that_asks_for_memory_is_refused(tmp_path, state, function, legacy):
    path = tmp_path / "bad.ckpt"
    torch.save({**state, "x": Calls(function, 2**24)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InvalidInput, match=r"bad\.ckpt asks for \w+\.\w+, which no weights need; get the file"):
        read_tensors(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.int64], ids=str)
def test_a_tensor_that_is_larger_than_its_file_is_refused(tmp_path, state, legacy, dtype):
    path = tmp_path / "bad.pt"
    endless = torch.zeros(1, dtype=dtype).expand(2**20, 2**20)
    torch.save({**state, "endless": endless}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InvalidInput, match=r"larger than the file, such as 'endless'; it was not read"):
        read_tensors(path)


def test_many_tensors_that_share_their_numbers_are_refused(tmp_path):
    shared = torch.zeros(2**16, dtype=torch.float16)
    torch.save({f"layer.{number}": shared[:] for number in range(64)}, tmp_path / "bad.pt")
    with pytest.raises(InvalidInput, match="larger than the file"):
        read_tensors(tmp_path / "bad.pt")


def test_a_tensor_without_numbers_is_refused(tmp_path, state):
    torch.save({**state, "empty": torch.empty(2**40, device="meta")}, tmp_path / "bad.pt")
    with pytest.raises(InvalidInput, match=r"'empty' is no dense tensor|cannot be read"):
        read_tensors(tmp_path / "bad.pt")


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 10**8) + b"{}",
        struct.pack("<Q", 70) + b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}    ' + bytes(4),
        struct.pack("<Q", 74)
        + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4398046511104]}}        '
        + bytes(8),
        struct.pack("<Q", 80_000) + b"[" * 80_000,
        struct.pack("<Q", 65 * 2**20) + b" " * 65 * 2**20,
    ],
    ids=["2^62 bytes", "longer than the file", "a shape that lies", "offsets that lie", "deep", "65 MiB"],
)
def test_a_header_of_safetensors_that_lies_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"model\.safetensors (has a header of|cannot be read)"):
        read_tensors(path)


@pytest.mark.parametrize("prefix", ["module.", "params.", "module.module.", "module.params."])
def test_prefixes_of_training_scripts_are_taken_off(tmp_path, state, prefix):
    prefixed = {prefix + name: tensor for name, tensor in state.items()}
    torch.save(prefixed, tmp_path / "a.pt")
    save_file(prefixed, tmp_path / "a.safetensors")
    torch.save({"params": prefixed, "epoch": 7}, tmp_path / "b.pt")
    for name in ("a.pt", "a.safetensors", "b.pt"):
        assert_equal(read_tensors(tmp_path / name), state)


def test_a_prefix_that_not_all_names_have_stays(tmp_path, state):
    mixed = {"module.a": state["a"], "b": state["b"]}
    torch.save(mixed, tmp_path / "a.pt")
    assert_equal(read_tensors(tmp_path / "a.pt"), mixed)
