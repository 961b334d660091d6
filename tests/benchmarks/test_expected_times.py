"""The expected time of a job: the sum of its calls, each at the share of its limit that was measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from respin.report.rows import read_rows
from respin_benchmarks.in_process.expected import A6000, FILE, H200, STEPS, CallCount, page_of, shares_of
from respin_benchmarks.in_process.page import networks_file
from respin_benchmarks.in_process.rows import NetworkRun

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
COUNTS = read_rows(RESULTS / FILE, CallCount)
RUNS = [run for run in read_rows(networks_file(RESULTS, "cuda"), NetworkRun) if run.runtime == "torch graphs"]


def cells(page, row):
    (line,) = (line for line in page.splitlines() if line.startswith(f"| {row} |"))
    return [each.strip() for each in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("network", "calls"),
    [
        # Asked for 75 steps, Zero123's own schedule has 76.
        ("zero123_unet", 76),
        ("inpaint_unet", 50),
        # The photo and the view.
        ("sam_encoder", 2),
        ("edsr", 1),
    ],
)
def test_each_network_counts_as_often_as_a_job_calls_it(network, calls):
    (count,) = (count for count in COUNTS if count.network == network)
    assert count.calls(75, 50) == calls


def test_the_vae_works_on_photo_and_view_and_the_detector_on_the_square_view():
    shapes = {network: [c.shapes for c in COUNTS if c.network == network] for network in ("vae_decoder", "edsr")}
    assert shapes == {"vae_decoder": ["1x4x64x64", "1x4x32x32"], "edsr": ["1x3x256x256"]}
    (detector,) = (count for count in COUNTS if count.network == "grounding_dino")
    assert detector.shapes.startswith("1x3x800x800 ")


def test_a_network_is_expected_to_take_what_it_took_where_it_was_measured():
    run = next(run for run in RUNS if (run.network, run.batch) == ("inpaint_unet", 1))
    count = next(count for count in COUNTS if count.network == run.network)
    same = replace(count, gflop=run.gflop, least_mib=run.least_mib)
    *_, on_h200, on_a6000 = cells(page_of([same], RUNS), "`inpaint_unet`")
    assert float(on_h200) == pytest.approx(run.best_ms, abs=0.01)
    # Bound by arithmetic on both, so as much slower as the peak is lower.
    assert float(on_a6000) == pytest.approx(run.best_ms * H200.tflops / A6000.tflops, abs=0.01)


def test_a_call_that_moves_more_than_it_computes_is_limited_by_the_memory():
    assert A6000.limit_ms(gflop=0.001, mib=768e9 / 2**20) == pytest.approx(1000)


def test_the_smallest_batch_is_what_a_job_of_one_view_calls():
    usual = next(run for run in RUNS if (run.network, run.batch) == ("zero123_unet", 1))
    assert shares_of([*RUNS, replace(usual, batch=8, device_ms=1e9)]) == shares_of(RUNS)


def test_a_job_is_the_sum_of_its_calls():
    page = page_of(COUNTS, RUNS)
    for steps, background_steps in STEPS:
        calls = [(count, count.calls(steps, background_steps)) for count in COUNTS]
        taken_ms = (n * float(cells(page, f"`{each.network}` | {each.shapes.split()[0]}")[-1]) for each, n in calls)
        tflop = sum(number * count.gflop for count, number in calls) / 1e3
        job = f"{steps} + {background_steps} | {tflop:.1f}"
        assert float(cells(page, f"{job} | all at the peak")[-1]) == pytest.approx(tflop / A6000.tflops, abs=1e-3)
        assert float(cells(page, f"{job} | torch graphs")[-1]) == pytest.approx(sum(taken_ms) / 1e3, abs=0.02)


def test_without_a_measured_h200_nothing_is_expected():
    assert page_of(COUNTS, [replace(run, machine="a CPU") for run in RUNS]) == ""
