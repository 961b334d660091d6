"""Ratios of jobs that were measured in turn: with their spread, and never across repeats."""

import math
from dataclasses import replace
from pathlib import Path

from respin.report.rows import read_rows
from respin_benchmarks.in_process.aims import targets_of
from respin_benchmarks.in_process.analysis import ratio_text, ratios
from respin_benchmarks.in_process.page import page_of
from respin_benchmarks.in_process.rows import JobRun, NetworkRun
from respin_benchmarks.targets import target_table

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
USUAL = next(run for run in read_rows(RESULTS / "jobs_cpu.csv", JobRun) if run.way == "baseline")


def target_lines(jobs, networks, device):
    return target_table(targets_of(jobs, networks, device))


def latency_s(run):
    return run.latency_s


def scripts(*latencies_s):
    return [replace(USUAL, repeat=repeat, latency_s=each) for repeat, each in enumerate(latencies_s)]


def jobs(*latencies_s):
    return [replace(run, way="engine", runtime="onnxruntime") for run in scripts(*latencies_s)]


def test_each_repeat_is_held_against_its_neighbour():
    assert ratios(scripts(4.0, 9.0, 5.0), jobs(1.0, 3.0), latency_s) == [4.0, 3.0]
    assert ratio_text([4.0, 3.0]) == "3.50 x (3.00 to 4.00)"
    assert ratio_text([]) == ""


def test_the_page_tells_a_ratio_with_its_spread():
    page = page_of([*scripts(4.0, 9.0), *jobs(1.0, 3.0)], [], "cpu")
    assert "| 3.50 x (3.00 to 4.00) |" in page


def test_an_aim_is_met_by_the_median_ratio():
    met, missed = (
        target_lines([*scripts(4.0, 4.0, 4.0), *jobs(*latencies)], [], "cpu")
        for latencies in ((1.0, 2.0, 4.0), (1.0, 3.0, 4.0))
    )
    aim = "| `onnxruntime`: one job at least 1.5 times faster than the warm eager baseline |"
    assert f"{aim} 2.00 x (1.00 to 4.00) | met |" in met
    assert f"{aim} 1.33 x (1.00 to 4.00) | **missed** |" in missed


def test_what_was_not_measured_side_by_side_is_no_aim():
    later = [replace(run, repeat=9) for run in jobs(1.0)]
    assert not any("times faster" in line for line in target_lines([*scripts(4.0), *later], [], "cpu"))


def networks_with(shares):
    """Rows of two networks by the runtimes of a CPU; a runtime's time is that share of ONNX Runtime's."""
    rows = read_rows(RESULTS / "networks_cpu.csv", NetworkRun)
    some = [row for row in rows if row.runtime == "onnxruntime" and row.network in ("edsr", "clip_text")]
    made = [
        replace(row, runtime=runtime, call_ms=10 * shares[runtime][row.network]) for row in some for runtime in shares
    ]
    return [replace(row, device_ms=math.nan) for row in made]


def fastest_lines(networks):
    page = page_of([*scripts(4.0), *jobs(1.0)], networks, "cpu")
    return [line for line in page.splitlines() if "runtimes at each network" in line]


SLOW, SAME = {"edsr": 3, "clip_text": 3}, {"edsr": 1, "clip_text": 1}


def test_the_page_tells_where_another_runtime_is_faster_and_by_how_much():
    (line,) = fastest_lines(
        networks_with({"torch eager": SLOW, "onnxruntime": SAME, "other": {"edsr": 0.6, "clip_text": 2}})
    )
    told = "1 of 2 rows; other takes less at `edsr` x 1 40%"
    assert line == f"| `onnxruntime`: within 5% of the fastest of 3 runtimes at each network | {told} | **missed** |"


def test_a_runtime_that_is_the_fastest_everywhere_has_met_it():
    (line,) = fastest_lines(networks_with({"torch eager": SLOW, "onnxruntime": SAME, "other": SLOW}))
    assert line == "| `onnxruntime`: within 5% of the fastest of 3 runtimes at each network | 2 of 2 rows | met |"


def test_without_a_choice_of_runtimes_nothing_is_said_of_it():
    assert fastest_lines(networks_with({"torch eager": SLOW, "onnxruntime": SAME})) == []
