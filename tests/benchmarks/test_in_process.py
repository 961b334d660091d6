"""Networks and jobs measured in this process: the path that a GPU walks, on the CPU at mini size."""

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from respin.report.markdown import with_section
from respin.report.rows import read_rows
from respin_benchmarks.circumstances import FILE, circumstances_in
from respin_benchmarks.in_process.__main__ import main
from respin_benchmarks.in_process.machine import Ceilings, Machine
from respin_benchmarks.in_process.network_runs import trials
from respin_benchmarks.in_process.report import jobs_file, networks_file, section_name, text_of
from respin_benchmarks.in_process.resume import OutOfTime
from respin_benchmarks.in_process.rows import JobRun, NetworkRun
from respin_benchmarks.in_process.runtimes import open_networks
from respin_benchmarks.in_process.weights import MiniSet
from respin_export.isolated import Done
from respin_export.published import PublishedWeights

ROOT = Path(__file__).parents[2]
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
SMALL = [*FEW, "--views", "2", "--most-jobs", "2", "--device", "cpu", "--weights", "set", "--runtimes", "onnxruntime"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    (folder / "page.md").write_text(f"<!-- {section_name('cpu')}: begin -->\n<!-- {section_name('cpu')}: end -->\n")
    before = torch.get_num_threads()
    where = ["--results", str(folder), "--work", str(folder / "work"), "--page", str(folder / "page.md")]
    assert main([*SMALL, *where]) == 0
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


def test_a_cold_start_of_the_baseline_takes_longer_than_a_warm_one(measured):
    rows = read_rows(jobs_file(measured, "cpu"), JobRun)
    (cold,), (warm,) = ([row for row in rows if row.way == way] for way in ("cold baseline", "baseline"))
    assert cold.latency_s > warm.latency_s


def test_many_views_and_many_jobs_are_measured(measured):
    rows = [row for row in read_rows(jobs_file(measured, "cpu"), JobRun) if row.way == "engine"]
    assert {(row.views, row.jobs) for row in rows} == {(1, 1), (2, 1), (1, 2)}
    assert all(0 < row.zero123_busy < 1 and 0 < row.inpaint_busy < 1 for row in rows)


def test_the_circumstances_lie_beside_the_rows(measured):
    (run,) = circumstances_in(measured / FILE)
    assert (run["benchmark"], run["results"]) == ("in process, cpu", ["jobs_cpu.csv", "networks_cpu.csv"])
    assert run["threads"]["torch"] == torch.get_num_threads()


def test_the_page_tells_aims_jobs_and_networks(measured):
    page = (measured / "page.md").read_text()
    for text in ("1.5 times faster", "at least 40 dB", "| `grounding_dino` | 1 |", "engine, onnxruntime, FP32"):
        assert text in page
    assert (measured / "images" / "jobs_cpu.png").stat().st_size > 0


def test_what_is_measured_is_not_measured_again(measured, capsys):
    before = networks_file(measured, "cpu").read_text()
    where = ["--results", str(measured), "--work", str(measured / "work")]
    assert main([*SMALL, *where, "--measure", "networks"]) == 0
    assert networks_file(measured, "cpu").read_text() == before
    told = capsys.readouterr().out
    assert "ms, on the device" not in told
    assert "| `grounding_dino` | 1 |" in told


def test_when_the_time_is_up_no_further_export_is_waited_for(tmp_path, monkeypatch):
    begun = []

    def export_set(plan, on_event):
        for name in plan.networks:
            begun.append(name)
            on_event(Done(name, None, 1.0, 1))
        return []

    monkeypatch.setattr("respin_benchmarks.in_process.runtimes.export_set", export_set)
    given = {"device": "cpu", "half": False, "work": tmp_path, "jobs": 1, "tell": print, "time_is_up": lambda: True}
    with pytest.raises(OutOfTime, match="time is up with 1 of 2 exports; run the same command again"):
        open_networks("onnxruntime", PublishedWeights(tmp_path), names=["edsr", "vae_encoder"], **given)
    assert begun == ["edsr"]


@pytest.mark.parametrize(
    ("name", "largest", "tried"), [("zero123_unet", 1, [1]), ("zero123_unet", 4, [1, 4]), ("clip_text", 1, [2])]
)
def test_no_batch_larger_than_asked_for_is_tried_unless_the_network_knows_no_other(name, largest, tried):
    found = trials(MiniSet(), name, Machine("cpu"), half=False, largest_batch=largest)
    assert [len(next(iter(trial.inputs.values()))) for trial in found] == tried


@pytest.mark.parametrize("device", ["cpu", "cpu_full", "cuda"])
def test_the_page_shows_the_committed_results(device):
    page = (ROOT / "docs/benchmarks.md").read_text()
    assert with_section(page, section_name(device), text_of(ROOT / "benchmarks/results", device)) == page


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_gpus_measurement_says_so(tmp_path, capsys):
    assert main(["--device", "cuda", "--results", str(tmp_path)]) == 1
    assert "there is no NVIDIA GPU to be seen; use --device cpu" in capsys.readouterr().err


def test_a_gpu_machine_needs_nothing_of_the_server_nor_of_its_clients():
    blocked = "import sys; sys.modules.update(dict.fromkeys(('grpc', 'tritonclient', 'pytriton', 'openvino')))"
    command = f"{blocked}; import respin_benchmarks.in_process.__main__"
    subprocess.run([sys.executable, "-c", command], check=True)


def test_without_the_package_triton_nothing_is_compiled_and_the_cure_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert main([*SMALL, "--runtimes", "torch compiled", "--results", str(tmp_path), "--measure", "networks"]) == 1
    assert "'torch compiled' needs the package triton" in capsys.readouterr().err


def test_a_page_without_the_section_is_refused_before_anything_is_measured(tmp_path, capsys):
    (tmp_path / "page.md").write_text("nothing")
    assert main([*SMALL, "--results", str(tmp_path), "--page", str(tmp_path / "page.md")]) == 1
    assert "the page has no section 'in process, cpu'" in capsys.readouterr().err
    assert not networks_file(tmp_path, "cpu").exists()


@pytest.mark.parametrize(("flop", "moved", "wanted_ms"), [(1e12, 1e6, 10), (1e6, 1e9, 5)])
def test_the_limit_is_the_slower_of_arithmetic_and_bytes(flop, moved, wanted_ms):
    assert Ceilings(matmul_tflops=100, copy_gb_s=200).floor_ms(flop, moved) == pytest.approx(wanted_ms)
