"""OpenVINO as a runtime that is measured: the same answers, in whatever shape, and words where it is missing."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from respin.bundled import bundled
from respin.contracts import NETWORKS
from respin.contracts.networks import EDSR, GROUNDING_DINO
from respin.errors import InternalError, InvalidInput
from respin.model_set import ModelSet
from respin_benchmarks.in_process.by_shape import MOST_SHAPES
from respin_benchmarks.in_process.network_runs import usual_inputs
from respin_benchmarks.in_process.openvino_networks import OpenVinoNetworks
from respin_benchmarks.in_process.page import page_of
from respin_benchmarks.in_process.rows import JobRun, NetworkRun
from respin_benchmarks.in_process.runtimes import default_runtimes, open_networks
from respin_benchmarks.in_process.weights import MiniSet
from respin_ensemble.networks.onnx import OnnxNetworks
from respin_export.example import example_inputs
from respin_export.parity import deviations_fp32
from respin_export.report.table import read_rows

ROOT = Path(__file__).parents[2]
SIZES = MiniSet.sizes
WITHIN = 1e-4
"""Share of the greatest magnitude: both compute in float32, in another order."""


@pytest.fixture(scope="module")
def by_openvino():
    return opened("openvino")


@pytest.fixture(scope="module")
def by_onnxruntime():
    return OnnxNetworks.from_set(bundled("models/mini"))


def opened(runtime, device="cpu"):
    return open_networks(
        runtime, MiniSet(), device=device, half=False, work=Path("unused"), jobs=1, tell=lambda text: None
    )


def apart(spec, got, wanted):
    return max(each.error for each in deviations_fp32(spec.name, [got[tensor.name] for tensor in spec.outputs], wanted))


def pictures(height, width, batch=1):
    return example_inputs(EDSR, SIZES, batch=batch, lengths={"height": height, "width": width})


@pytest.mark.parametrize("name", NETWORKS)
def test_openvino_answers_as_onnx_runtime_does(by_openvino, by_onnxruntime, name):
    spec = NETWORKS[name]
    inputs = usual_inputs(spec, SIZES, 2)
    assert apart(spec, by_openvino(spec, **inputs), by_onnxruntime(spec, **inputs)) <= WITHIN


@pytest.mark.parametrize(("height", "width", "batch"), [(48, 64, 1), (64, 48, 1), (64, 48, 2)])
def test_another_shape_is_another_compilation_with_the_same_answer(by_openvino, by_onnxruntime, height, width, batch):
    inputs = pictures(height, width, batch)
    assert apart(EDSR, by_openvino(EDSR, **inputs), by_onnxruntime(EDSR, **inputs)) <= WITHIN


def test_detection_takes_photos_of_two_shapes(by_openvino, by_onnxruntime):
    for lengths in ({"height": 224, "width": 256}, {"height": 256, "width": 208}):
        inputs = example_inputs(GROUNDING_DINO, SIZES, batch=1, lengths=lengths)
        assert (
            apart(GROUNDING_DINO, by_openvino(GROUNDING_DINO, **inputs), by_onnxruntime(GROUNDING_DINO, **inputs))
            <= WITHIN
        )


def test_an_answer_stays_when_the_next_call_comes(by_openvino):
    inputs = pictures(48, 64)
    first = by_openvino(EDSR, **inputs)["upscaled"]
    kept = first.copy()
    by_openvino(EDSR, image=255 - inputs["image"])
    np.testing.assert_array_equal(first, kept)


def test_more_shapes_than_are_kept_are_compiled_again(by_openvino):
    sides = range(32, 33 + MOST_SHAPES)
    first = [by_openvino(EDSR, **pictures(side, 32))["upscaled"] for side in sides]
    again = by_openvino(EDSR, **pictures(sides[0], 32))["upscaled"]
    np.testing.assert_array_equal(again, first[0])


def test_a_file_that_is_no_network_is_told_in_words(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(InternalError, match="edsr could not be read by OpenVINO: "):
        OpenVinoNetworks({"edsr": tmp_path / "model.onnx"}, SIZES)


def test_a_shape_that_the_graph_cannot_have_is_told_in_words():
    folder = bundled("models/mini")
    edsr = ModelSet.load(folder).file(folder, EDSR)
    misnamed = OpenVinoNetworks({"vae_encoder": edsr}, SIZES)
    inputs = usual_inputs(NETWORKS["vae_encoder"], SIZES, 1)
    with pytest.raises(InternalError, match="vae_encoder failed: "):
        misnamed(NETWORKS["vae_encoder"], **inputs)


def test_without_the_package_it_is_no_default_and_says_what_to_install(monkeypatch):
    assert default_runtimes("cpu") == ["torch eager", "onnxruntime", "openvino"]
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert default_runtimes("cpu") == ["torch eager", "onnxruntime"]
    with pytest.raises(InvalidInput, match=r"needs the package openvino; pip install 'respin\[bench\]'"):
        opened("openvino")


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime all cores", "onnxruntime by shape"])
def test_a_runtime_of_the_cpu_is_refused_on_a_gpu(runtime):
    with pytest.raises(InvalidInput, match=f"'{runtime}' is measured on a CPU only; use --device cpu"):
        opened(runtime, device="cuda")


def test_a_call_on_every_core_answers_as_one_on_half(by_onnxruntime):
    inputs = pictures(48, 64)
    assert apart(EDSR, opened("onnxruntime all cores")(EDSR, **inputs), by_onnxruntime(EDSR, **inputs)) <= WITHIN


def test_opening_it_leaves_nothing_in_the_home_folder(tmp_path):
    """Its telemetry would keep an id of the user there, and report the import."""
    code = (
        "from respin.bundled import bundled\n"
        "from respin.model_set import Sizes\n"
        "from respin_benchmarks.in_process.openvino_networks import OpenVinoNetworks\n"
        "OpenVinoNetworks({'edsr': bundled('models/mini') / 'edsr' / 'model.onnx'}, Sizes())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"HOME": str(tmp_path)})
    assert not list(tmp_path.iterdir())


def networks_with(shares):
    """Rows of two networks by the runtimes of a CPU; a runtime's time is that share of ONNX Runtime's."""
    rows = read_rows(ROOT / "benchmarks/results/networks_cpu.csv", NetworkRun)
    some = [row for row in rows if row.runtime == "onnxruntime" and row.network in ("edsr", "clip_text")]
    made = [
        replace(row, runtime=runtime, call_ms=10 * shares[runtime][row.network]) for row in some for runtime in shares
    ]
    return [replace(row, device_ms=math.nan) for row in made]


def check_targets(networks):
    rows = read_rows(ROOT / "benchmarks/results/jobs_cpu.csv", JobRun)
    jobs = [row for row in rows if row.runtime in ("torch eager", "onnxruntime")]
    return [line for line in page_of(jobs, networks, "cpu").splitlines() if "runtimes at each network" in line]


SLOW, USUAL = {"edsr": 3, "clip_text": 3}, {"edsr": 1, "clip_text": 1}


def test_the_page_tells_where_another_runtime_is_faster_and_by_how_much():
    (line,) = check_targets(
        networks_with({"torch eager": SLOW, "onnxruntime": USUAL, "openvino": {"edsr": 0.6, "clip_text": 2}})
    )
    told = "1 of 2 rows; openvino takes less at `edsr` x 1 40%"
    assert line == f"| `onnxruntime`: within 5% of the fastest of 3 runtimes at each network | {told} | **missed** |"


def test_a_runtime_that_is_the_fastest_everywhere_has_met_it():
    (line,) = check_targets(networks_with({"torch eager": SLOW, "onnxruntime": USUAL, "openvino": SLOW}))
    assert line == "| `onnxruntime`: within 5% of the fastest of 3 runtimes at each network | 2 of 2 rows | met |"


def test_without_a_choice_of_runtimes_nothing_is_said_of_it():
    assert check_targets(networks_with({"torch eager": SLOW, "onnxruntime": USUAL})) == []
