"""A measurement in this process that was ended goes on: what is there of the same code is not measured again."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from respin.report.rows import read_rows, write_rows
from respin_benchmarks.in_process import precompile, session
from respin_benchmarks.in_process.__main__ import main
from respin_benchmarks.in_process.report import jobs_file, networks_file
from respin_benchmarks.in_process.resume import OutOfTime, Subject, cold_starts_left, repeats_left
from respin_benchmarks.in_process.rows import JobRun, NetworkRun
from respin_benchmarks.in_process.torch_networks import COMPILED
from respin_benchmarks.in_process.weights import MiniSet
from respin_export.isolated import Done

SOME = read_rows(Path(__file__).parents[2] / "benchmarks/results/jobs_cpu.csv", JobRun)[0]
MACHINE = SimpleNamespace(commit="bbb", name=SOME.machine, versions=SOME.versions)
SUBJECT = Subject(SOME.weights, SOME.precision, MACHINE)
USUAL, VIEWS = ("ddim", 75, 50, 1, 1), ("ddim", 75, 50, 12, 1)
FEW = [
    "--calls",
    "1",
    "--steps",
    "3",
    "--background-steps",
    "3",
    "--few-steps",
    "3",
    "--views",
    "2",
    "--cold-starts",
    "0",
]
SMALL = [*FEW, "--most-jobs", "1", "--device", "cpu", "--weights", "set", "--largest-batch", "1"]


def run_of(way="engine", runtime="onnxruntime", cell=USUAL, repeat=0, commit="bbb"):
    asked = dict(zip(("sampler", "steps", "background_steps", "views", "jobs"), cell, strict=True))
    return replace(SOME, way=way, runtime=runtime, repeat=repeat, commit=commit, **asked)


def test_repeats_that_every_cell_and_runtime_have_are_not_measured_again():
    rows = [run_of(cell=cell, repeat=repeat) for cell in (USUAL, VIEWS) for repeat in range(3)]
    assert repeats_left(rows, [USUAL, VIEWS], ["onnxruntime"], 5) == 2
    assert repeats_left(rows, [USUAL, VIEWS], ["onnxruntime"], 3) == 0
    assert repeats_left(rows, [USUAL, VIEWS], ["onnxruntime"], 2) == 0
    assert repeats_left(rows[:-1], [USUAL, VIEWS], ["onnxruntime"], 5) == 3
    assert repeats_left(rows, [USUAL, VIEWS], ["onnxruntime", "tensorrt"], 5) == 5


@pytest.mark.parametrize(
    "other",
    [
        {"commit": "aaa"},
        {"machine": "another"},
        {"versions": "torch 3"},
        {"weights": "mini, random"},
        {"precision": "fp16"},
    ],
)
def test_what_was_measured_of_other_code_or_elsewhere_does_not_count(other):
    rows = [run_of(), replace(run_of(), **other)]
    assert SUBJECT.rows(rows) == rows[:1]


def test_rows_of_older_code_go_when_their_runtime_is_measured_again_and_baselines_with_them():
    old = [run_of("baseline", "torch eager", commit="aaa"), run_of(commit="aaa")]
    other = [
        run_of("baseline", "torch eager", repeat=1, commit="aaa"),
        run_of(runtime="tensorrt", repeat=1, commit="aaa"),
    ]
    new = [run_of("baseline", "torch eager"), run_of()]
    half = [replace(row, precision="fp16") for row in old]
    assert SUBJECT.kept([*old, *other, *half, *new], ["onnxruntime"]) == [*other, *half, *new]


def test_the_cold_starts_that_are_there_are_counted():
    rows = [run_of("cold baseline", "torch eager", repeat=repeat) for repeat in range(2)]
    assert cold_starts_left(rows, USUAL, 3) == 1
    assert cold_starts_left(rows, VIEWS, 3) == 3
    assert cold_starts_left(rows, USUAL, 1) == 0


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("once")
    assert main([*SMALL, "--runtimes", "onnxruntime", "--repeats", "1", *where(folder)]) == 0
    return folder


def test_the_same_command_again_measures_nothing_and_says_so(once, capsys):
    before = [file(once, "cpu").read_text() for file in (jobs_file, networks_file)]
    assert main([*SMALL, "--runtimes", "onnxruntime", "--repeats", "1", *where(once)]) == 0
    assert [file(once, "cpu").read_text() for file in (jobs_file, networks_file)] == before
    told = capsys.readouterr().out
    assert "onnxruntime: jobs are measured" in told
    assert "onnxruntime: networks are measured" in told


def test_with_more_repeats_only_those_are_measured_that_are_left(once):
    assert main([*SMALL, "--runtimes", "onnxruntime", "--repeats", "2", "--measure", "jobs", *where(once)]) == 0
    rows = [row for row in read_rows(jobs_file(once, "cpu"), JobRun) if row.way == "engine"]
    assert {row.repeat for row in rows} == {0, 1}
    assert all(sum((row.sampler, row.views) == cell for row in rows) == 2 for cell in (("ddim", 1), ("ddim", 2)))


def test_a_network_that_was_ended_between_two_batches_is_measured_whole(once):
    file, batches = networks_file(once, "cpu"), ["--largest-batch", "4"]
    asked = [*SMALL, "--runtimes", "onnxruntime", "--measure", "networks"]
    assert main([*asked, *batches, *where(once)]) == 0
    rows = read_rows(file, NetworkRun)
    assert {row.batch for row in rows if row.network == "zero123_unet"} == {1, 4}
    write_rows(file, NetworkRun, [row for row in rows if row.batch != 4])
    assert main([*asked, *batches, *where(once)]) == 0
    assert {row.batch for row in read_rows(file, NetworkRun) if row.network == "zero123_unet"} == {1, 4}


def test_networks_measured_of_older_code_are_measured_again(once):
    file = networks_file(once, "cpu")
    rows = read_rows(file, NetworkRun)
    write_rows(
        file, NetworkRun, [replace(row, commit="an older one") if row.network == "edsr" else row for row in rows]
    )
    assert main([*SMALL, "--runtimes", "onnxruntime", "--measure", "networks", *where(once)]) == 0
    assert {row.commit for row in read_rows(file, NetworkRun)} == {rows[0].commit}


def test_networks_that_were_not_asked_for_keep_the_rows_of_older_code(once):
    file = networks_file(once, "cpu")
    rows = [replace(row, commit="aaa") for row in read_rows(file, NetworkRun)]
    write_rows(file, NetworkRun, rows)
    asked = ["--runtimes", "onnxruntime", "--measure", "networks", "--networks", "clip_text"]
    assert main([*SMALL, *asked, *where(once)]) == 0
    now = read_rows(file, NetworkRun)
    assert len(now) == len(rows)
    assert {row.network for row in now if row.commit != "aaa"} == {"clip_text"}


def test_on_a_gpu_a_runtime_is_measured_wholly_before_the_next_is_opened(tmp_path, monkeypatch):
    order = []
    for what in ("_jobs", "_networks"):
        monkeypatch.setattr(session.Session, what, lambda *arguments, what=what: order.append((what, *arguments[2])))
    options = SimpleNamespace(
        device="cpu",
        precision="fp32",
        weights="set",
        results=tmp_path,
        label="cpu",
        work=tmp_path,
        runtimes=["torch graphs", "onnxruntime"],
        measure=["jobs", "networks"],
        budget_s=math.inf,
    )
    together = session.Session(options)
    together.run()
    assert order == [("_jobs", "torch graphs", "onnxruntime"), ("_networks", "torch graphs", "onnxruntime")]
    order.clear()
    together.machine.kind = "cuda"
    monkeypatch.setattr(session, "released", lambda _: None)
    together.run()
    one, other = ("torch graphs",), ("onnxruntime",)
    assert order == [("_jobs", *one), ("_networks", *one), ("_jobs", *other), ("_networks", *other)]


def test_compilations_that_are_done_are_not_begun_again_unless_the_gpu_is_another(tmp_path, monkeypatch):
    begun, gpu = [], ["a GPU"]

    def run_isolated(tasks, jobs):
        for name in tasks:
            begun.append(name)
            yield Done(name, None, 1.0, 1)

    monkeypatch.setattr(precompile, "run_isolated", run_isolated)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: gpu[0])
    given = {"half": True, "jobs": 1, "notes": tmp_path / "work" / "compiled", "tell": print}
    with pytest.raises(OutOfTime, match=r"time is up with 1 of \d+ compiled; run the same command again"):
        precompile.precompile(MiniSet(), **given, time_is_up=lambda: True)
    precompile.precompile(MiniSet(), **given, time_is_up=lambda: False)
    everything = list(begun)
    assert len(set(everything)) == len(everything)
    assert {name.split()[0] for name in everything} == set(COMPILED)
    precompile.precompile(MiniSet(), **given, time_is_up=lambda: True)
    assert begun == everything
    gpu[0] = "another GPU"
    precompile.precompile(MiniSet(), **given, time_is_up=lambda: False)
    assert begun == 2 * everything


def test_no_warm_up_begins_once_the_time_is_up(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(session, "warmed", lambda *_: pytest.fail("it began"))
    monkeypatch.setattr(session.Session, "_load", lambda self, *_: setattr(self.options, "budget_s", 0))
    assert main([*SMALL, "--runtimes", "onnxruntime", "--measure", "jobs", "--budget-s", "100", *where(tmp_path)]) == 0
    assert "time is up with onnxruntime loaded; run the same command again" in capsys.readouterr().out


def where(folder):
    return ["--results", str(folder), "--work", str(folder / "work")]
