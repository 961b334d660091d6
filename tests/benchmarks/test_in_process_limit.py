"""The limit of a whole job is the sum of its calls' limits; and what torch.compile's minutes are spent on."""

from dataclasses import replace

import pytest
import torch

from respin.contracts import NETWORKS
from respin.model_set import Sizes
from respin_benchmarks.in_process.limit import job_limit_ms
from respin_benchmarks.in_process.plots import RUNTIME_COLOURS, draw_latencies, draw_limits
from respin_benchmarks.in_process.precompile import lengths_met
from respin_benchmarks.in_process.rows import NetworkRun
from respin_benchmarks.in_process.runner import CompiledGraphs
from respin_benchmarks.in_process.runtimes import RUNTIMES
from respin_benchmarks.in_process.torch_networks import COMPILED

SHAPES = {"grounding_dino": "3x800x1000", "vae_encoder": "3x512x512", "vae_decoder": "4x64x64", "edsr": "3x256x256"}


def run_of(network, **fields):
    given = {
        "network": network,
        "runtime": "onnxruntime",
        "precision": "fp32",
        "batch": 1,
        "shapes": SHAPES.get(network, "4x32x32"),
        "calls": 3,
        "call_ms": 4.0,
        "call_p95_ms": 5.0,
        "device_ms": float("nan"),
        "gflop": 1.0,
        "least_mib": 1.0,
        "floor_ms": 0.0,
        "errors": "",
        "note": "",
        "weights": "mini",
        "commit": "0",
        "date": "2026-01-01",
        "machine": "2 cores",
        "matmul_tflops": 1.0,
        "copy_gb_s": 1.0,
        "versions": "",
    }
    return NetworkRun(**{**given, **fields})


ALL = [run_of(name) for name in NETWORKS]


def limit_with(**floors_ms):
    runs = [replace(run, floor_ms=floors_ms.get(run.network, 0.0)) for run in ALL]
    return job_limit_ms(runs, steps=75, background_steps=50)


@pytest.mark.parametrize(
    ("network", "calls"),
    [
        # Asked for 75 steps, Zero123's own sampler runs 76.
        ("zero123_unet", 76),
        ("inpaint_unet", 50),
        ("sam_encoder", 2),
        ("edsr", 1),
        # The photo, and a view of a quarter of its area.
        ("vae_decoder", 1.25),
        # A square where the limit is of 800 x 1000.
        ("grounding_dino", 0.8),
    ],
)
def test_each_network_counts_as_often_as_a_job_calls_it(network, calls):
    whole, unets = limit_with(**{network: 2.0})
    assert whole == pytest.approx(2 * calls)
    assert unets == (whole if network.endswith("unet") else 0)


def test_the_smallest_batch_is_what_a_job_of_one_view_calls():
    larger = [run_of("zero123_unet", batch=8, floor_ms=100.0), *ALL]
    assert job_limit_ms(larger, steps=75, background_steps=50) == (0, 0)


def test_without_one_of_the_networks_there_is_no_limit():
    assert job_limit_ms(ALL[1:], steps=75, background_steps=50) is None


def test_the_pictures_of_limits_and_latencies_are_drawn(tmp_path):
    runs = [replace(run, runtime=runtime) for run in ALL for runtime in ("torch eager", "onnxruntime")]
    draw_limits([replace(run, floor_ms=1.0) for run in runs], tmp_path / "images" / "limits.png")
    draw_latencies({"baseline, torch eager": [3.0, 3.1], "engine": [1.0]}, tmp_path / "images" / "latencies.png")
    for name in ("limits.png", "latencies.png"):
        assert (tmp_path / "images" / name).read_bytes().startswith(b"\x89PNG")


def test_no_two_runtimes_share_a_colour():
    assert len(set(RUNTIME_COLOURS)) >= len(RUNTIMES)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own, as its compiler is imported
def test_two_shapes_of_a_chosen_batch_are_compiled_and_others_go_without():
    module = torch.nn.Identity()
    runner = CompiledGraphs(module, NETWORKS["vae_decoder"], "cpu", batches=(1,))
    shapes = [((1, 4, side, side),) for side in (64, 32, 16)]
    chosen = [runner.forward_for(shape) is not module for shape in shapes]
    assert chosen == [True, True, False]
    assert runner.forward_for(shapes[0]) is not module
    assert runner.forward_for(((8, 4, 64, 64),)) is module


@pytest.mark.parametrize(
    ("name", "met"),
    [
        ("edsr", [{}]),
        ("grounding_dino", [{}, {"height": 800, "width": 800}]),
        ("vae_encoder", [{}, {"height": 256, "width": 256}]),
        ("vae_decoder", [{}, {"latent_height": 32, "latent_width": 32}]),
    ],
)
def test_what_is_compiled_beforehand_is_what_a_job_of_a_square_photo_brings(name, met):
    assert name in COMPILED
    assert lengths_met(name, Sizes()) == met
