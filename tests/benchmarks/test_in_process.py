"""Jobs through gRPC and in this process, and networks: the path that a GPU walks, on the CPU at mini size."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from run_bench import bench, measure

from respin.contracts import NETWORKS
from respin.report.rows import read_rows, write_rows
from respin_benchmarks.circumstances import FILE, read_circumstances
from respin_benchmarks.in_process.machine import Ceilings
from respin_benchmarks.in_process.network_runs import BATCHES
from respin_benchmarks.in_process.page import in_process_report, jobs_file, networks_file
from respin_benchmarks.in_process.rows import JobRun, NetworkRun
from respin_benchmarks.in_process.session import Measurement
from respin_benchmarks.options import InProcessOptions
from respin_server.wheel import TritonWheel

STEPS = {"steps": 4, "background_steps": 4, "few_steps": 3}
SMALL = {"device": "cpu", **STEPS, "calls": 1, "repeats": 1, "views": 2, "most_jobs": 2}
CELLS = {("ddim", 4, 4, 1, 1), ("unipc_karras", 3, 3, 1, 1), ("ddim", 4, 4, 2, 1), ("ddim", 4, 4, 1, 2)}

pytestmark = pytest.mark.triton


def flags(**options):
    given = {**SMALL, "runtime": "onnxruntime", **options}
    return [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", value)]


def jobs_of(folder, way):
    return [row for row in read_rows(jobs_file(folder, "cpu"), JobRun) if row.way == way]


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory):
    """A folder like the one into which the server's wheel was unpacked."""
    packages, folder = TritonWheel.installed().libraries.parent, tmp_path_factory.mktemp("unpacked")
    for name in ("pytriton", "nvidia_pytriton.libs"):
        (folder / name).symlink_to(packages / name)
    return folder


@pytest.fixture(scope="module")
def measured(tmp_path_factory, unpacked):
    folder = tmp_path_factory.mktemp("measured")
    section = in_process_report("cpu").section
    (folder / "page.md").write_text(f"<!-- {section}: begin -->\n<!-- {section}: end -->\n")
    where = {"results": folder, "work": folder / "work", "page": folder / "page.md"}
    measure("in-process", *flags(**where, tritonserver=unpacked))
    return folder


def test_every_network_is_measured_against_its_float32_module(measured):
    rows = read_rows(networks_file(measured, "cpu"), NetworkRun)
    assert {(row.network, row.batch) for row in rows} == {(name, each) for name in NETWORKS for each in BATCHES[name]}
    for row in rows:
        assert row.call_ms > 0
        assert row.floor_ms > 0
        errors = [float(each.split()[-1]) for each in row.errors.split("; ")]
        assert max(errors) <= 2e-5


@pytest.mark.parametrize("way", ["served", "engine"])
def test_every_kind_of_job_is_measured_through_grpc_and_in_process(measured, way):
    rows = jobs_of(measured, way)
    assert {row.key for row in rows} == CELLS
    for row in rows:
        assert 0 < row.latency_s <= row.wall_s
        assert row.images_s == pytest.approx(row.views * row.jobs / row.wall_s, rel=1e-2)
        assert row.ready_s > 0
        assert 0 < row.zero123_busy < 1
        assert 0 < row.inpaint_busy < 1


@pytest.mark.parametrize("way", ["served", "engine"])
def test_both_make_the_baselines_picture(measured, way):
    (same,) = (row for row in jobs_of(measured, way) if not math.isnan(row.psnr_view_db))
    assert same.key == ("ddim", 4, 4, 1, 1)
    assert min(same.psnr_view_db, same.psnr_background_db) >= 40


def test_the_memory_of_a_server_is_told_by_process(measured):
    for row in jobs_of(measured, "served"):
        held = {name: int(mib) for name, mib in (each.split(":") for each in row.memory_by_process.split())}
        assert {"tritonserver", "rotate_object", "rotate_object_stream", "segment_object"} <= set(held)
        assert sum(held.values()) == pytest.approx(row.memory_mib, abs=len(held))


def test_the_baseline_runs_beside_the_engines_usual_job(measured):
    (baseline,) = jobs_of(measured, "baseline")
    (engine,) = (row for row in jobs_of(measured, "engine") if row.key == baseline.key)
    assert baseline.repeat == engine.repeat


def test_the_circumstances_lie_beside_the_rows(measured):
    (run,) = read_circumstances(measured / FILE)
    assert (run["benchmark"], run["results"]) == ("in process, cpu", ["jobs_cpu.csv", "networks_cpu.csv"])
    assert run["threads"]["torch"] == torch.get_num_threads()


def test_the_page_tells_aims_jobs_networks_and_memory(measured):
    page = (measured / "page.md").read_text()
    for text in ("1.5 times faster", "| `grounding_dino` | 1 |", "| served, onnxruntime, fp32 |", "MiB by process: "):
        assert text in page


def test_the_same_command_again_measures_nothing_and_says_so(measured, unpacked):
    files = [file(measured, "cpu") for file in (jobs_file, networks_file)]
    before = [file.read_text() for file in files]
    told = measure("in-process", *flags(results=measured, work=measured / "work", tritonserver=unpacked))
    assert [file.read_text() for file in files] == before
    assert "served, onnxruntime: nothing is left to measure" in told
    assert "engine, onnxruntime: nothing is left to measure" in told
    assert "| `grounding_dino` | 1 |" in told


def test_networks_of_older_code_or_without_a_batch_are_measured_again(measured, tmp_path):
    rows = read_rows(networks_file(measured, "cpu"), NetworkRun)
    kept = [replace(row, commit="an older one") if row.network == "edsr" else row for row in rows]
    left = [row for row in kept if (row.network, row.batch) != ("zero123_unet", 4)]
    write_rows(networks_file(tmp_path, "cpu"), NetworkRun, left)
    measure("in-process", *flags(measure="networks", results=tmp_path, work=tmp_path / "work"))
    now = read_rows(networks_file(tmp_path, "cpu"), NetworkRun)
    assert {row.commit for row in now} == {rows[0].commit}
    assert {(row.network, row.batch) for row in now} == {(row.network, row.batch) for row in rows}


class EndsAfter:
    """A budget that is over when it has been asked so often."""

    seconds = math.inf
    elapsed_s = 0.0

    def __init__(self, questions):
        self.left = questions

    def is_over(self):
        self.left -= 1
        return self.left < 0


def test_the_budget_ends_a_run_between_measurements_and_the_next_run_goes_on(tmp_path):
    options = {**SMALL, "runtime": ["onnxruntime"], "results": tmp_path, "work": tmp_path / "work"}
    # Before the server starts, after each of four warm-ups, before the first two cells.
    ended = Measurement(InProcessOptions(**{**options, "weights": "set", "measure": ["served"]}))
    ended.budget = EndsAfter(7)
    ended.run()
    first = jobs_of(tmp_path, "served")
    assert [row.key for row in first] == [("ddim", 4, 4, 1, 1), ("unipc_karras", 3, 3, 1, 1)]
    Measurement(InProcessOptions(**{**options, "weights": "set", "measure": ["served"]})).run()
    rows = jobs_of(tmp_path, "served")
    assert [row.latency_s for row in rows[:2]] == [row.latency_s for row in first]
    assert {row.key for row in rows} == CELLS
    assert len(rows) == len(CELLS)


def test_the_budget_ends_the_loading_of_the_engine_between_two_networks(tmp_path, capsys):
    options = {**SMALL, "runtime": ["onnxruntime"], "results": tmp_path, "work": tmp_path / "work", "weights": "set"}
    ended = Measurement(InProcessOptions(**{**options, "measure": ["networks"]}))
    # Before the engine is loaded, then before each network.
    ended.budget = EndsAfter(3)
    ended.run()
    told = capsys.readouterr().out
    assert "loading sam_decoder (3 of 10)" in told
    assert "(4 of 10)" not in told
    assert "time is up; run the same command again" in told
    assert not networks_file(tmp_path, "cpu").exists()


def test_a_server_that_is_not_ready_in_time_is_stopped_and_told(tmp_path):
    told = measure("in-process", *flags(measure="served", budget_s=12, results=tmp_path, work=tmp_path / "work"))
    rows = jobs_of(tmp_path, "served")
    assert "time is up" in told or "time was up" in told
    assert all(not row.note or "the time was up before the server was ready" in row.note for row in rows)


def test_a_server_that_does_not_start_is_a_sentence_and_the_rest_goes_on(tmp_path):
    where = {"results": tmp_path, "work": tmp_path / "work", "views": 1, "most_jobs": 1}
    arguments = flags(**where, tritonserver=tmp_path / "nothing", network="clip_text", measure="served")
    told = measure("in-process", *arguments, "--measure", "networks")
    sentence = f"--tritonserver is '{tmp_path / 'nothing'}', which has no pytriton/tritonserver/bin/tritonserver"
    assert f"1 views x 1: not measured: respin serve ended with code 1: respin_server: {sentence}" in told
    (failed,) = jobs_of(tmp_path, "served")
    assert sentence in failed.note
    assert [row.network for row in read_rows(networks_file(tmp_path, "cpu"), NetworkRun)] == ["clip_text"]


WITHOUT = "import sys; sys.modules.update(dict.fromkeys(('grpc', 'tritonclient', 'pytriton')))"


def test_without_the_clients_packages_what_is_served_is_not_measured_and_the_cure_is_told(tmp_path):
    arguments = [*flags(measure="served", results=tmp_path, work=tmp_path / "work")]
    command = f"{WITHOUT}; from respin_benchmarks.commands import app; app({['in-process', *map(str, arguments)]})"
    told = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True).stdout
    assert "not measured: there is no module 'grpc'; pip install 'respin[serve]'" in told


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_gpus_measurement_says_so(tmp_path):
    error = bench("in-process", "--device", "cuda", "--results", tmp_path).exception
    assert "PyTorch sees no NVIDIA GPU here; use --device cpu" in str(error)


def test_a_runtime_that_cannot_run_here_is_refused_before_anything_is_measured(tmp_path):
    where = ["--results", tmp_path, "--work", tmp_path / "work"]
    error = bench("in-process", "--device", "cpu", "--runtime", "tensorrt", *where).exception
    assert "tensorrt" in str(error)
    assert not jobs_file(tmp_path, "cpu").exists()


@pytest.mark.parametrize(("flop", "moved", "wanted_ms"), [(1e12, 1e6, 10), (1e6, 1e9, 5)])
def test_the_limit_is_the_slower_of_arithmetic_and_bytes(flop, moved, wanted_ms):
    assert Ceilings(matmul_tflops=100, copy_gb_s=200).floor_ms(flop, moved) == pytest.approx(wanted_ms)
