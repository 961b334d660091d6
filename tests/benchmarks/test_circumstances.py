"""The circumstances of benchmarks: noted beside the rows, also of a run that fails; those of others are kept."""

import json

import pytest

from respin.errors import InvalidInput
from respin_benchmarks.circumstances import FILE, read_circumstances, record_circumstances


def run_of(folder, benchmark="served: load", *, anew=True, rows="rows\n"):
    file = folder / "load.csv"
    with record_circumstances(benchmark, [file, folder / "none.csv"], anew=anew):
        file.write_text(rows)


def test_a_run_is_noted_with_machine_versions_threads_clocks_and_load(tmp_path):
    run_of(tmp_path)
    (run,) = read_circumstances(tmp_path / FILE)
    assert (run["benchmark"], run["results"]) == ("served: load", ["load.csv"])
    assert run["began"] <= run["ended"]
    assert run["commit"]
    assert run["versions"]["onnxruntime"]
    assert run["cpu"]["cores"] >= 1
    assert run["before"]["load_average"] >= 0
    assert all(clock > 0 for clock in run["after"]["cpu_mhz"])
    assert "gpu" in run
    assert "threads" in run


def test_limits_of_threads_are_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run_of(tmp_path)
    (run,) = read_circumstances(tmp_path / FILE)
    assert run["threads"]["OMP_NUM_THREADS"] == "1"


def test_a_run_that_fails_is_noted_too(tmp_path):
    with pytest.raises(RuntimeError), record_circumstances("overhead", [tmp_path / "overhead.csv"], anew=True):
        raise RuntimeError
    (run,) = read_circumstances(tmp_path / FILE)
    assert (run["benchmark"], run["results"]) == ("overhead", [])


def test_rows_that_are_written_anew_take_the_circumstances_of_the_old_ones_along(tmp_path):
    run_of(tmp_path)
    run_of(tmp_path, "overhead")
    run_of(tmp_path)
    assert [run["benchmark"] for run in read_circumstances(tmp_path / FILE)] == ["overhead", "served: load"]


def test_rows_that_are_added_keep_those_of_the_earlier_ones(tmp_path):
    for _ in range(2):
        run_of(tmp_path, "in process, cpu", anew=False)
    assert [run["benchmark"] for run in read_circumstances(tmp_path / FILE)] == ["in process, cpu"] * 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"runs": 3}'])
def test_a_file_of_another_kind_is_refused_before_anything_is_measured_and_kept(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InvalidInput, match=r"circumstances\.json' does not hold .* move it away"):
        run_of(tmp_path)
    assert (tmp_path / FILE).read_text() == text
    assert not (tmp_path / "load.csv").exists()


def test_the_file_is_json_with_nothing_of_this_machine_but_what_matters(tmp_path):
    run_of(tmp_path)
    (run,) = json.loads((tmp_path / FILE).read_text())["runs"]
    assert set(run) == {
        "after", "before", "began", "benchmark", "commit", "cpu", "ended", "gpu", "python", "results", "threads",
        "versions",
    }  # fmt: skip
    assert str(tmp_path) not in json.dumps(run)
