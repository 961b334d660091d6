"""Networks and jobs measured in this process: the path that a GPU walks, on the CPU at mini size."""

import importlib.util
import math
import subprocess
import sys

import pytest
import torch
from run_bench import bench, measure

from respin.report.rows import read_rows
from respin_benchmarks.circumstances import FILE, read_circumstances
from respin_benchmarks.in_process.machine import Ceilings, Machine
from respin_benchmarks.in_process.network_runs import make_trials
from respin_benchmarks.in_process.report import in_process_report, jobs_file, networks_file
from respin_benchmarks.in_process.rows import JobRun, NetworkRun
from respin_export.mini.trained import MiniSet

FEW = [
    "--cold-starts",
    "1",
    "--calls",
    "1",
    "--repeats",
    "1",
    "--steps",
    "4",
    "--background-steps",
    "4",
    "--few-steps",
    "3",
]
SMALL = [*FEW, *["--views", "2", "--most-jobs", "2", "--device", "cpu", "--weights", "set", "--runtime", "onnxruntime"]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    section = in_process_report("cpu").section
    (folder / "page.md").write_text(f"<!-- {section}: begin -->\n<!-- {section}: end -->\n")
    before = torch.get_num_threads()
    measure("in-process", *SMALL, "--results", folder, "--work", folder / "work", "--page", folder / "page.md")
    torch.set_num_threads(before)
    return folder


def test_every_network_is_measured_against_its_float32_module(measured):
    rows = read_rows(networks_file(measured, "cpu"), NetworkRun)
    assert len({row.network for row in rows}) == 10
    for row in rows:
        assert row.call_ms > 0
        assert row.floor_ms > 0
        errors = [float(each.split()[-1]) for each in row.errors.split("; ")]
        assert max(errors) <= 2e-5


def test_the_engine_makes_the_baselines_picture(measured):
    rows = read_rows(jobs_file(measured, "cpu"), JobRun)
    (same,) = (row for row in rows if row.way == "engine" and not math.isnan(row.psnr_view_db))
    assert (same.views, same.jobs, same.sampler) == (1, 1, "ddim")
    assert min(same.psnr_view_db, same.psnr_background_db) >= 40


def test_the_baseline_runs_warm_and_in_a_process_of_its_own(measured):
    rows = read_rows(jobs_file(measured, "cpu"), JobRun)
    (cold,), (warm,) = ([row for row in rows if row.way == way] for way in ("cold baseline", "baseline"))
    assert cold.key == warm.key == ("ddim", 4, 4, 1, 1)
    assert cold.memory_mib > 0, "the peak of its own process"
    assert warm.memory_mib == 0, "ways that share a process cannot be told apart"


def test_many_views_and_many_jobs_are_measured(measured):
    rows = [row for row in read_rows(jobs_file(measured, "cpu"), JobRun) if row.way == "engine"]
    assert {(row.views, row.jobs) for row in rows} == {(1, 1), (2, 1), (1, 2)}
    assert all(0 < row.zero123_busy < 1 and 0 < row.inpaint_busy < 1 for row in rows)


def test_the_circumstances_lie_beside_the_rows(measured):
    (run,) = read_circumstances(measured / FILE)
    assert (run["benchmark"], run["results"]) == ("in process, cpu", ["jobs_cpu.csv", "networks_cpu.csv"])
    assert run["threads"]["torch"] == torch.get_num_threads()


def test_the_page_tells_aims_jobs_and_networks(measured):
    page = (measured / "page.md").read_text()
    for text in ("1.5 times faster", "at least 40 dB", "| `grounding_dino` | 1 |", "engine, onnxruntime, FP32"):
        assert text in page
    assert (measured / "images" / "jobs_cpu.png").stat().st_size > 0


def test_what_is_measured_is_not_measured_again(measured):
    before = networks_file(measured, "cpu").read_text()
    told = measure("networks", *SMALL, "--results", measured, "--work", measured / "work")
    assert networks_file(measured, "cpu").read_text() == before
    assert "ms, on the device" not in told
    assert "| `grounding_dino` | 1 |" in told


@pytest.mark.parametrize(
    ("name", "largest", "tried"), [("zero123_unet", 1, [1]), ("zero123_unet", 4, [1, 4]), ("clip_text", 1, [2])]
)
def test_no_batch_larger_than_asked_for_is_tried_unless_the_network_knows_no_other(name, largest, tried):
    found = make_trials(MiniSet(), name, Machine("cpu"), half=False, largest_batch=largest)
    assert [len(next(iter(trial.inputs.values()))) for trial in found] == tried


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_gpus_measurement_says_so(tmp_path):
    error = bench("in-process", "--device", "cuda", "--results", tmp_path).exception
    assert "PyTorch sees no NVIDIA GPU here; use --device cpu" in str(error)


def test_a_gpu_machine_needs_nothing_of_the_server_nor_of_its_clients():
    blocked = "import sys; sys.modules.update(dict.fromkeys(('grpc', 'tritonclient', 'pytriton')))"
    command = f"{blocked}; import respin_benchmarks.commands, respin_benchmarks.in_process.session"
    subprocess.run([sys.executable, "-c", command], check=True)


def test_without_the_package_triton_nothing_is_compiled_and_the_cure_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    error = bench("networks", *SMALL, "--runtime", "torch compiled", "--results", tmp_path).exception
    assert "'torch compiled' needs the package triton" in str(error)


@pytest.mark.parametrize(("flop", "moved", "wanted_ms"), [(1e12, 1e6, 10), (1e6, 1e9, 5)])
def test_the_limit_is_the_slower_of_arithmetic_and_bytes(flop, moved, wanted_ms):
    assert Ceilings(matmul_tflops=100, copy_gb_s=200).floor_ms(flop, moved) == pytest.approx(wanted_ms)
