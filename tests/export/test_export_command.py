"""`respin export` as a command, and what it records of the weights folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import typer
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from respin.errors import InvalidInput
from respin_export.export_command import export
from respin_export.published import PublishedWeights, checkpoint_record


def command(*arguments):
    app = typer.Typer()
    app.command()(export)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_says_how_it_is_used():
    text = re.sub(r"\x1b\[[0-9;]*m", "", command("--help").output)
    assert "respin export --precision fp16 --jobs 2" in text
    assert "grounding_dino" in text


def test_without_weights_every_network_is_named_with_what_to_do(tmp_path):
    result = command("edsr", "sam_encoder", "--weights", tmp_path, "--output", tmp_path / "set")
    assert isinstance(result.exception, InvalidInput)
    assert "2 of 2 networks were not exported" in str(result.exception)
    assert "respin weights fetch sam" in str(result.exception)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(("arguments", "words"), [(["resnet"], "grounding_dino"), (["--device", "cuda"], "no CUDA")])
def test_what_cannot_be_done_is_refused_before_anything_is_read(arguments, words, tmp_path):
    result = command(*arguments, "--weights", tmp_path)
    assert isinstance(result.exception, InvalidInput)
    assert words in str(result.exception)


def test_published_weights_say_who_made_them(tmp_path):
    about = PublishedWeights(tmp_path).about("edsr")
    assert "EDSR" in about["source"]
    assert about["licence"]


def test_the_hash_of_a_folder_is_that_of_its_files_and_their_places(tmp_path):
    for name in ("unet", "vae", ".cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "unet" / "model.bin").write_bytes(b"weights")
    first = checkpoint_record(tmp_path, {})
    assert first["size_bytes"] == 7
    (tmp_path / ".cache" / "lock").write_bytes(b"")
    assert checkpoint_record(tmp_path, {}) == first
    (tmp_path / "unet" / "model.bin").rename(tmp_path / "vae" / "model.bin")
    assert checkpoint_record(tmp_path, {})["sha256"] != first["sha256"]


def test_a_record_is_believed_while_size_and_time_stay():
    path = Path(__file__)
    record = checkpoint_record(path, {})
    assert checkpoint_record(path, {**record, "sha256": "remembered"})["sha256"] == "remembered"
    assert checkpoint_record(path, {**record, "sha256": "remembered", "modified_ns": 1}) == record


def save_vae(folder, seed, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = AutoencoderKL()
    folder.mkdir(exist_ok=True)
    (folder / "model_index.json").write_text("{}")
    vae.save_pretrained(folder / "vae", **options)


def test_the_manifest_says_whether_both_branches_have_one_vae(tmp_path):
    save_vae(tmp_path / "zero123", 1)
    source = PublishedWeights(tmp_path)
    assert "not there to compare" in source.note("vae_decoder")
    save_vae(tmp_path / "inpaint", 2)
    assert "has other weights" in source.note("vae_decoder")
    save_vae(tmp_path / "inpaint", 1)
    assert source.note("vae_encoder").startswith("one VAE")
    file = tmp_path / "inpaint" / "vae" / "diffusion_pytorch_model.safetensors"
    halved = {name: tensor.half() for name, tensor in load_file(file).items()}
    file.unlink()
    save_file(halved, file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert source.note("vae_encoder").startswith("one VAE")
    assert source.note("edsr") is None
