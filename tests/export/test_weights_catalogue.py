"""What is known of the published checkpoints, and comparing files with it."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
from typer.testing import CliRunner

from respin.errors import ContractMismatch, InvalidInput
from respin_client.command import command_line, main
from respin_client.contributed import GROUP
from respin_export.checkpoints import CHECKPOINT_OF, find_checkpoint
from respin_export.weights.catalogue import CATALOGUE, WeightFile, choose
from respin_export.weights.verify import RECEIPTS, check, findings

VARIANTS = [(checkpoint, variant) for checkpoint in CATALOGUE.values() for variant in checkpoint.variants]
IDS = [f"{checkpoint.name}:{variant.name}" for checkpoint, variant in VARIANTS]


def test_every_network_has_a_checkpoint_in_the_catalogue():
    assert set(CATALOGUE) == set(CHECKPOINT_OF.values())


@pytest.mark.parametrize(("checkpoint", "variant"), VARIANTS, ids=IDS)
def test_what_is_fetched_is_what_the_loaders_look_for(checkpoint, variant, tmp_path):
    for file in variant.files:
        (path := tmp_path / checkpoint.name / file.path).parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = find_checkpoint(checkpoint.name, tmp_path)
    assert found in (tmp_path / checkpoint.name, tmp_path / checkpoint.name / variant.files[0].path)


@pytest.mark.parametrize(("checkpoint", "variant"), VARIANTS, ids=IDS)
def test_every_file_has_an_address_and_a_checksum_of_the_right_form_or_none(checkpoint, variant):
    for file in variant.files:
        assert variant.url(file).startswith("https://")
        assert "None" not in variant.url(file)
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{8}|[0-9a-f]{64}", file.sha256)


def test_digits_in_a_name_are_taken_for_a_checksum_only_where_they_are_one():
    edsr, sam = choose("edsr").variant.files[0], choose("sam").variant.files[0]
    assert edsr.sha256 in edsr.path
    # sam_vit_l_0b3195: the first digits of an MD5.
    assert "0b3195" in sam.path
    assert not sam.sha256.startswith("0b3195")


def test_a_name_may_choose_a_variant():
    assert [choose(name).name for name in ("edsr", "edsr:baseline")] == ["edsr:full", "edsr:baseline"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("sdxl", "no checkpoint 'sdxl'; there are grounding_dino, sam, zero123, edsr, inpaint"),
        ("edsr:huge", "edsr has no variant 'huge'; it has full, baseline"),
    ],
)
def test_an_unknown_name_is_refused_in_words(name, sentence):
    with pytest.raises(InvalidInput, match=f"^{sentence}$"):
        choose(name)


CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KNOWN = WeightFile("model.pt", len(CONTENT), sha256=SHA256)


@pytest.mark.parametrize(
    "file",
    [
        KNOWN,
        replace(KNOWN, sha256=SHA256[:8]),
        replace(KNOWN, size_bytes=7.2, size_is_exact=False),
        WeightFile("model.pt"),
    ],
    ids=["all known", "first digits", "about the size", "nothing known"],
)
def test_the_right_file_passes(file, tmp_path):
    (path := tmp_path / "model.pt").write_bytes(CONTENT)
    check(path, file)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (replace(KNOWN, size_bytes=9), "'model.pt' has 7 bytes, the published file 9"),
        (replace(KNOWN, size_bytes=70, size_is_exact=False), "has 7 bytes, the published file about 70"),
        (replace(KNOWN, sha256="0" * 64), "SHA-256 of 'model.pt' begins .{16}, that of the published file 0{16}"),
        (replace(KNOWN, sha256="0" * 8), "that of the published file 00000000"),
    ],
    ids=["size", "size by far", "checksum", "first digits"],
)
def test_the_wrong_file_is_refused_in_words(file, sentence, tmp_path):
    (path := tmp_path / "model.pt").write_bytes(CONTENT)
    with pytest.raises(ContractMismatch, match=sentence):
        check(path, file)


def verdicts(weights):
    return {finding.path: finding.verdict for finding in findings(weights)}


def test_verifying_an_empty_folder_says_what_fetches_each(tmp_path):
    missing = list(findings(tmp_path))
    assert {finding.verdict for finding in missing} == {"missing"}
    assert missing[0].reason == "fetch it with `respin weights fetch grounding_dino:original`"


def whole_zero123(weights):
    """A file of zeros that has the size of the published one and takes no room."""
    (path := weights / "zero123" / "zero123-xl.ckpt").parent.mkdir()
    with path.open("wb") as file:
        file.truncate(15_500_000_000)


def test_verifying_finds_wrong_and_unproved_files(tmp_path):
    (wrong := tmp_path / "sam" / "sam_vit_l_0b3195.pth").parent.mkdir()
    wrong.write_bytes(CONTENT)
    whole_zero123(tmp_path)
    found = verdicts(tmp_path)
    assert found["sam/sam_vit_l_0b3195.pth"] == "wrong"
    # No checksum of it is published.
    assert found["zero123/zero123-xl.ckpt"] == "unproved"


def test_verifying_looks_at_the_variants_that_are_there(tmp_path):
    (path := tmp_path / "inpaint" / "unet" / "diffusion_pytorch_model.fp16.safetensors").parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    found = verdicts(tmp_path)
    assert found["inpaint/vae/diffusion_pytorch_model.fp16.safetensors"] == "missing"
    assert "inpaint/vae/diffusion_pytorch_model.bin" not in found


@pytest.mark.parametrize(
    ("content", "against", "verdict"),
    [(CONTENT, "the Hub's", "ok"), (CONTENT, None, "unproved"), (b"rotten!", "the Hub's", "wrong")],
)
def test_a_receipt_shows_whether_a_file_has_changed(content, against, verdict, tmp_path):
    (path := tmp_path / "inpaint" / "vae" / "config.json").parent.mkdir(parents=True)
    path.write_bytes(content)
    path.with_name("diffusion_pytorch_model.bin").touch()
    receipt = {"sha256": SHA256, "checked_against": against}
    (tmp_path / RECEIPTS).write_text(json.dumps({"inpaint/vae/config.json": receipt}))
    assert verdicts(tmp_path)["inpaint/vae/config.json"] == verdict


def test_receipts_that_cannot_be_read_are_refused_in_words(tmp_path):
    (tmp_path / RECEIPTS).write_text("{")
    with pytest.raises(ContractMismatch, match=r"fetched\.json' is not JSON .*; remove it"):
        list(findings(tmp_path))


WEIGHTS = EntryPoint("weights", "respin_export.weights.commands:app", GROUP)


def run(*arguments):
    return CliRunner().invoke(command_line([WEIGHTS]), ["weights", *map(str, arguments)])


def test_the_list_says_what_is_known_and_what_is_not():
    printed = run("list").stdout
    assert all(name in printed for name in IDS)
    assert "zero123-xl.ckpt: about 15500 MB; SHA-256 not known here\n" in printed
    assert "SHA-256 begins 4f62e9ef (no more is published)" in printed


def test_the_verify_command_fails_where_a_file_is_wrong(tmp_path):
    (path := tmp_path / "sam" / "sam_vit_l_0b3195.pth").parent.mkdir()
    path.write_bytes(CONTENT)
    refused = run("verify", "--weights", tmp_path)
    assert "wrong     sam/sam_vit_l_0b3195.pth: " in refused.stdout
    assert isinstance(refused.exception, ContractMismatch)


def test_the_verify_command_fails_where_files_are_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["weights", "verify", "--weights", str(tmp_path)], [WEIGHTS])
    assert end.value.code == 1
    assert f"file(s) are missing in '{tmp_path}'; fetch them with `respin weights fetch`" in capsys.readouterr().err


def test_fetching_from_a_folder_works_from_the_command_line(tmp_path):
    refused = run("fetch", "sam", "--weights", tmp_path / "weights", "--from", tmp_path, "--quiet")
    assert "has no sam_vit_l_0b3195.pth of sam:original" in str(refused.exception)


def test_the_commands_load_nothing_heavy():
    heavy = {"torch", "httpx2", "huggingface_hub", "diffusers"}
    program = f"import sys, respin_export.weights.commands; print(*({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []
