"""The limit of a whole job is the sum of its calls' limits."""

from dataclasses import replace

import pytest

from respin.contracts import NETWORKS
from respin_benchmarks.in_process.analysis import job_limit_ms
from respin_benchmarks.in_process.plots import RUNTIME_COLOURS, draw_latencies, draw_limits
from respin_benchmarks.in_process.rows import NetworkRun
from respin_benchmarks.in_process.runtimes import RUNTIMES

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
