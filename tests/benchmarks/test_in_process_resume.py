"""Which rows a measurement that was ended goes on from."""

from dataclasses import replace
from pathlib import Path

import pytest

from respin.report.circumstances import Circumstances
from respin.report.rows import read_rows
from respin_benchmarks.in_process.rows import JobRun, Subject

SOME = read_rows(Path(__file__).parents[2] / "benchmarks/results/jobs_cpu.csv", JobRun)[0]
HERE = Circumstances(commit="bbb", date="today", machine=SOME.machine, versions=SOME.versions)
SUBJECT = Subject(SOME.weights, SOME.precision, HERE)
USUAL, VIEWS = ("ddim", 75, 50, 1, 1), ("ddim", 75, 50, 12, 1)
ENGINE = ("engine", "onnxruntime")


def run_of(way="engine", runtime="onnxruntime", cell=USUAL, repeat=0, commit="bbb", **others):
    asked = dict(zip(("sampler", "steps", "background_steps", "views", "jobs"), cell, strict=True))
    return replace(SOME, way=way, runtime=runtime, repeat=repeat, commit=commit, **asked, **others)


def keys_left(rows, repeats, way="engine", runtime="onnxruntime"):
    return SUBJECT.keys_left(rows, way, runtime, [USUAL, VIEWS], repeats)


def test_each_cell_is_measured_as_often_as_it_lacks_rows():
    rows = [run_of(cell=cell, repeat=repeat) for cell in (USUAL, VIEWS) for repeat in range(3)]
    assert keys_left(rows, 2) == keys_left(rows, 3) == []
    assert keys_left(rows, 5) == [[USUAL, VIEWS]] * 2
    assert keys_left(rows[:-1], 4) == [[USUAL, VIEWS], [VIEWS]]
    assert keys_left(rows, 1, "served") == keys_left(rows, 1, runtime="torch") == [[USUAL, VIEWS]]


def test_a_failure_is_measured_again():
    assert keys_left([run_of(note="no memory")], 1) == [[USUAL, VIEWS]]


@pytest.mark.parametrize(
    "other",
    [
        {"commit": "aaa"},
        {"machine": "another"},
        {"versions": "torch 3"},
        {"weights": "full size, random"},
        {"precision": "fp16"},
    ],
)
def test_what_was_measured_of_other_code_or_elsewhere_does_not_count(other):
    rows = [run_of(), replace(run_of(), **other)]
    assert SUBJECT.own(rows) == rows[:1]


def test_rows_of_older_code_and_failures_go_when_their_way_is_measured_again_and_baselines_with_them():
    old = [run_of("baseline", "torch eager", commit="aaa"), run_of(commit="aaa"), run_of(note="no memory")]
    other = [
        run_of("baseline", "torch eager", repeat=1, commit="aaa"),
        run_of(runtime="torch", repeat=1, commit="aaa"),
        run_of("served", commit="aaa"),
    ]
    new = [run_of("baseline", "torch eager"), run_of()]
    assert sorted(map(repr, SUBJECT.kept([*old, *other, *new], *ENGINE))) == sorted(map(repr, [*other, *new]))
