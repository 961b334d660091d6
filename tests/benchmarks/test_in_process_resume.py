"""A measurement in this process that was ended goes on: what is there of the same code is not measured again."""

from dataclasses import replace
from pathlib import Path

import pytest
from run_bench import measure

from respin.report.circumstances import Circumstances
from respin.report.rows import read_rows, write_rows
from respin_benchmarks.in_process import session
from respin_benchmarks.in_process.report import jobs_file, networks_file
from respin_benchmarks.in_process.resumption import Subject, cold_starts_left, repeats_left
from respin_benchmarks.in_process.rows import JobRun, NetworkRun
from respin_benchmarks.in_process.runtimes import RuntimeLoader
from respin_benchmarks.options import InProcessOptions

SOME = read_rows(Path(__file__).parents[2] / "benchmarks/results/jobs_cpu.csv", JobRun)[0]
HERE = Circumstances(commit="bbb", date="today", machine=SOME.machine, versions=SOME.versions)
SUBJECT = Subject(SOME.weights, SOME.precision, HERE)
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
SMALL = [
    *FEW,
    *["--most-jobs", "1", "--device", "cpu", "--weights", "set", "--largest-batch", "1", "--runtime", "onnxruntime"],
]


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
    assert SUBJECT.own(rows) == rows[:1]


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
    measure("in-process", *SMALL, "--repeats", 1, *where(folder))
    return folder


def test_the_same_command_again_measures_nothing_and_says_so(once):
    before = [file(once, "cpu").read_text() for file in (jobs_file, networks_file)]
    told = measure("in-process", *SMALL, "--repeats", 1, *where(once))
    assert [file(once, "cpu").read_text() for file in (jobs_file, networks_file)] == before
    assert "onnxruntime: jobs are measured" in told
    assert "onnxruntime: networks are measured" in told


def test_with_more_repeats_only_those_are_measured_that_are_left(once):
    measure("pipeline", *SMALL, "--repeats", 2, *where(once))
    rows = [row for row in read_rows(jobs_file(once, "cpu"), JobRun) if row.way == "engine"]
    assert {row.repeat for row in rows} == {0, 1}
    assert all(sum((row.sampler, row.views) == cell for row in rows) == 2 for cell in (("ddim", 1), ("ddim", 2)))


def test_a_network_that_was_ended_between_two_batches_is_measured_whole(once):
    file = networks_file(once, "cpu")
    asked = ["networks", *SMALL, "--largest-batch", 4, *where(once)]
    measure(*asked)
    rows = read_rows(file, NetworkRun)
    assert {row.batch for row in rows if row.network == "zero123_unet"} == {1, 4}
    write_rows(file, NetworkRun, [row for row in rows if row.batch != 4])
    measure(*asked)
    assert {row.batch for row in read_rows(file, NetworkRun) if row.network == "zero123_unet"} == {1, 4}


def test_networks_measured_of_older_code_are_measured_again(once):
    file = networks_file(once, "cpu")
    rows = read_rows(file, NetworkRun)
    write_rows(
        file, NetworkRun, [replace(row, commit="an older one") if row.network == "edsr" else row for row in rows]
    )
    measure("networks", *SMALL, *where(once))
    assert {row.commit for row in read_rows(file, NetworkRun)} == {rows[0].commit}


def test_networks_that_were_not_asked_for_keep_the_rows_of_older_code(once):
    file = networks_file(once, "cpu")
    rows = [replace(row, commit="aaa") for row in read_rows(file, NetworkRun)]
    write_rows(file, NetworkRun, rows)
    measure("networks", *SMALL, "--network", "clip_text", *where(once))
    now = read_rows(file, NetworkRun)
    assert len(now) == len(rows)
    assert {row.network for row in now if row.commit != "aaa"} == {"clip_text"}


class NamesOnly(session.InProcessMeasurement):
    """Measures nothing, and remembers what it would have measured."""

    def __init__(self, options):
        super().__init__(options, "cpu")
        self.order = []

    def measure_jobs(self, runtimes):
        self.order.append(("jobs", *runtimes))

    def measure_networks(self, runtimes):
        self.order.append(("networks", *runtimes))


def test_on_a_gpu_a_runtime_is_measured_wholly_before_the_next_is_opened(tmp_path, monkeypatch):
    options = InProcessOptions(
        device="cpu",
        precision="fp32",
        weights="set",
        results=tmp_path,
        work=tmp_path,
        runtime=["torch graphs", "onnxruntime"],
        measure=["jobs", "networks"],
    )
    together = NamesOnly(options)
    together.run()
    assert together.order == [("jobs", "torch graphs", "onnxruntime"), ("networks", "torch graphs", "onnxruntime")]
    together.order.clear()
    together.machine.kind = "cuda"
    monkeypatch.setattr(together.machine, "release_memory", lambda: None)
    together.run()
    one, other = "torch graphs", "onnxruntime"
    assert together.order == [("jobs", one), ("networks", one), ("jobs", other), ("networks", other)]


def test_no_warm_up_begins_once_the_time_is_up(tmp_path, monkeypatch):
    def load(loader, runtime):
        loader.time_is_up.__self__.seconds = 0

    monkeypatch.setattr(session, "warmed_engine", lambda *_: pytest.fail("it began"))
    monkeypatch.setattr(RuntimeLoader, "load", load)
    told = measure("in-process", *SMALL, "--measure", "jobs", "--budget-s", 100, *where(tmp_path))
    assert "time is up with onnxruntime loaded; run the same command again" in told


def where(folder):
    return ["--results", folder, "--work", folder / "work"]
