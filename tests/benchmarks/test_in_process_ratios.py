"""The page: ratios of jobs that were measured in turn, with their spread, and targets."""

from dataclasses import replace
from pathlib import Path

from respin.report.rows import read_rows
from respin_benchmarks.in_process.page import page_of, ratio_text, ratios
from respin_benchmarks.in_process.rows import JobRun

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
USUAL = next(run for run in read_rows(RESULTS / "jobs_cpu.csv", JobRun) if run.way == "baseline")


def scripts(*latencies_s):
    return [replace(USUAL, repeat=repeat, latency_s=each) for repeat, each in enumerate(latencies_s)]


def jobs(*latencies_s, **others):
    return [replace(run, **{"way": "engine", "runtime": "onnxruntime", **others}) for run in scripts(*latencies_s)]


def test_each_repeat_is_held_against_its_neighbour():
    found = ratios(scripts(4.0, 9.0, 5.0), jobs(1.0, 3.0), "latency_s")
    assert ratio_text(found) == "3.50 x (3.00 to 4.00)"
    assert ratio_text(ratios([], jobs(1.0), "latency_s")) == "-"


def test_repeats_of_other_code_are_no_neighbours():
    assert ratio_text(ratios(scripts(4.0), jobs(1.0, commit="another"), "latency_s")) == "-"


def test_an_aim_is_met_by_the_median_ratio():
    aim = "| engine, `onnxruntime`: one job at least 1.5 times faster than the warm eager baseline |"
    met, missed = (
        page_of([*scripts(4.0, 4.0, 4.0), *jobs(*latencies)], [], "cpu")
        for latencies in ((1.0, 2.0, 4.0), (1.0, 3.0, 4.0))
    )
    assert f"{aim} 2.00 x (1.00 to 4.00) | met |" in met
    assert f"{aim} 1.33 x (1.00 to 4.00) | **missed** |" in missed
    assert "| 2.00 x (1.00 to 4.00) |" in met


def test_what_was_not_measured_side_by_side_is_no_aim():
    later = [replace(run, repeat=9) for run in jobs(1.0)]
    assert "times faster" not in page_of([*scripts(4.0), *later], [], "cpu")


def test_the_aims_of_a_gpu_are_told_of_what_is_served_too():
    served = jobs(0.7, way="served", runtime="torch", memory_mib=9000)
    twelve = replace(served[0], views=12, latency_s=1.6)
    page = page_of([*scripts(4.0), *served, twelve], [], "cuda")
    assert "| served, `torch`: one image at 75 + 50 steps in 0.8 s | 0.70 s | met |" in page
    assert "| served, `torch`: 12 views in less than 2.5 times one | 2.29 x (2.29 to 2.29) | met |" in page
    assert "| served, `torch`: under 9 GB of GPU memory | 8.8 GiB | met |" in page


def test_what_could_not_be_measured_is_told():
    page = page_of([*scripts(4.0), *jobs(1.0, way="served", note="there is no GPU")], [], "cpu")
    assert page.startswith("* served, onnxruntime: not measured: there is no GPU\n")
