"""The gate: a slowdown beyond the noise of both files fails, noise does not."""

import csv
from pathlib import Path

import pytest
from run_bench import bench

from respin.errors import InvalidInput

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
ASKED = {
    "way": "engine",
    "runtime": "onnxruntime",
    "precision": "fp32",
    "sampler": "ddim",
    "steps": "75",
    "background_steps": "50",
    "views": "1",
    "jobs": "1",
    "photo": "512 x 512 px",
    "weights": "models/mini",
    "machine": "a laptop",
}


@pytest.fixture
def compared(tmp_path):
    def compare(older, newer):
        files = []
        for name, rows in (("older", older), ("newer", newer)):
            files.append(tmp_path / f"{name}.csv")
            with files[-1].open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        return bench("compare", *files)

    return compare


def jobs(*latencies_s, **other):
    return [ASKED | {"latency_s": str(latency_s)} | other for latency_s in latencies_s]


def test_a_slowdown_beyond_the_noise_fails(compared):
    result = compared(jobs(1.0, 1.1, 0.9), jobs(1.3, 1.2, 1.4))
    assert result.exit_code == 1
    assert "1 of 1 slower" in result.output


@pytest.mark.parametrize("newer", [(1.05, 1.2, 1.3), (0.9, 1.0, 1.1), (0.5, 0.6, 0.4)])
def test_what_overlaps_or_is_faster_passes(compared, newer):
    assert compared(jobs(1.0, 1.1, 0.9), jobs(*newer)).exit_code == 0


def test_a_network_is_slower_only_beyond_the_older_ones_slow_end(compared):
    asked = {
        "network": "edsr",
        "runtime": "x",
        "precision": "fp16",
        "batch": "1",
        "shapes": "3x256x256",
        "weights": "w",
        "machine": "a laptop",
    }
    older = [asked | {"call_ms": "10", "call_p95_ms": "12"}]
    assert compared(older, [asked | {"call_ms": "11.9", "call_p95_ms": "13"}]).exit_code == 0
    assert compared(older, [asked | {"call_ms": "12.1", "call_p95_ms": "13"}]).exit_code == 1


@pytest.mark.parametrize(
    ("newer", "sentence"),
    [
        (jobs(1.0, machine="a server"), "one file was measured on a laptop, the other on a server"),
        (jobs(1.0, steps="20"), "the files have nothing in common"),
        ([{"network": "edsr"}], "not two results files of one kind"),
    ],
)
def test_files_that_cannot_be_compared_are_refused_in_words(compared, newer, sentence):
    error = compared(jobs(1.0), newer).exception
    assert isinstance(error, InvalidInput)
    assert sentence in str(error)


@pytest.mark.parametrize(
    "name",
    [
        *("jobs_cpu", "networks_cpu", "perf_analyzer", "served_load", "served_stages"),
        *("startup", "step_batcher", "many_views"),
    ],
)
def test_every_benchmarks_results_can_be_compared_and_nothing_is_slower_than_itself(name):
    file = RESULTS / f"{name}.csv"
    result = bench("compare", file, file)
    assert result.exit_code == 0
    assert "0 of " in result.output


def test_a_load_that_no_longer_has_an_answer_is_slower(compared):
    asked = dict.fromkeys(("concurrency", "profile"), "1") | ASKED
    answered, refused = (asked | {"p50_s": p50_s, "p95_s": p50_s} for p50_s in ("1.0", "nan"))
    assert compared([answered], [refused]).exit_code == 1
    assert compared([refused], [answered]).exit_code == 0
    assert compared([refused], [refused]).exit_code == 0


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert "there is no file" in str(bench("compare", tmp_path / "no.csv", tmp_path / "no.csv").exception)
