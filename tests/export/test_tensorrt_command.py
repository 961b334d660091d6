"""`respin engines`."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
from markers import rtx

from respin.bundled import bundled_path
from respin.model_set import ModelSet, records_of
from respin_client.command import main
from respin_client.contributed import GROUP
from respin_export.tensorrt.identity import engine_records

ENGINES = [EntryPoint("engines", "respin_export.tensorrt.commands:engines", GROUP)]
MINI = str(bundled_path("models/mini"))


def installed(name):
    return importlib.util.find_spec(name) is not None


def respin(*arguments):
    """Exit code of `respin engines`."""
    with pytest.raises(SystemExit) as left:
        main(["engines", *map(str, arguments)], ENGINES)
    return left.value.code


@rtx
def test_engines_are_built_then_kept_then_refused_for_other_gpus(tmp_path, capsys):
    asked = (MINI, "--output", tmp_path / "rtx", "--flavour", "tensorrt_rtx", "--network", "edsr")
    assert respin(*asked) == 0
    assert "built" in capsys.readouterr().out
    made = ModelSet.load(tmp_path / "rtx")
    made.verify(tmp_path / "rtx")
    assert (made.name, made.precision) == ("mini-tensorrt_rtx", "fp32")

    assert respin(*asked) == 0
    assert "kept" in capsys.readouterr().out

    assert respin(*asked, "--capability", "8.6") == 2
    said = capsys.readouterr().err
    assert "edsr: built for compute capabilities 'default', wanted '8.6'; rebuild with: respin" in said
    assert "--capability 8.6 --network edsr --rebuild" in said

    assert respin(*asked, "--capability", "8.6", "--rebuild") == 0
    assert engine_records(ModelSet.load(tmp_path / "rtx"))["edsr"].identity.capabilities == "8.6"


@rtx
def test_failures_are_said_at_the_end(tmp_path, capsys):
    source = tmp_path / "broken"
    (source / "edsr").mkdir(parents=True)
    (source / "edsr" / "model.onnx").write_bytes(b"no graph")
    mini = ModelSet.load(bundled_path("models/mini"))
    replace(mini, networks={"edsr": records_of(source, source / "edsr" / "model.onnx")}).save(source)
    assert respin(source, "--output", tmp_path / "rtx", "--flavour", "tensorrt_rtx") == 1
    printed = capsys.readouterr()
    assert "failed" in printed.out
    assert "respin: not built: edsr\n  edsr: TensorRT cannot parse model.onnx" in printed.err


@pytest.mark.skipif(installed("tensorrt"), reason="is installed here")
def test_a_flavour_that_is_not_installed_is_said_in_one_sentence(tmp_path, capsys):
    assert respin(MINI, "--output", tmp_path / "trt", "--flavour", "tensorrt") == 1
    assert capsys.readouterr().err == (
        "respin: TensorRT is not installed; pip install 'respin[tensorrt-rtx]', or 'respin[tensorrt]' where the GPU "
        "is, or build in NVIDIA's TensorRT container\n"
    )


def test_the_command_says_how_it_is_used(capsys):
    assert respin("--help") == 0
    assert "respin engines models/full-fp16\n" in capsys.readouterr().out
