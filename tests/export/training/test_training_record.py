"""What the manifest of the mini set says of the training."""

import csv

import pytest

from respin.bundled import bundled_path
from respin.errors import InvalidInput
from respin.model_set import ModelSet
from respin_export.mini.trained import KEPT, TARGETS, load_or_build, training_record
from respin_export.training.recipes import TRAINED
from respin_export.training.run_files import CURVE, WEIGHTS

RUNS = {run for run, _ in TRAINED.values()}


def test_every_run_has_targets():
    assert set(TARGETS) == RUNS


def test_the_committed_manifest_has_the_records_of_the_committed_runs():
    recorded = ModelSet.load(bundled_path("models/mini")).origin["training"]
    assert {name: recorded[name] for name in TRAINED} == {
        name: training_record(run, KEPT) for name, (run, _) in TRAINED.items()
    }


@pytest.mark.parametrize("run", sorted(RUNS))
def test_a_committed_run_has_reached_its_targets_and_says_how_to_repeat_it(run):
    record = training_record(run, KEPT)
    assert record["trained"]
    assert "missed" not in record
    assert record["command"] == f"respin train {run} --seed 0"
    assert (KEPT / record["curve"]).is_file()


def test_a_network_below_its_target_counts_as_not_trained(tmp_path):
    folder = tmp_path / "edsr"
    folder.mkdir()
    (folder / WEIGHTS).write_bytes((KEPT / "edsr" / WEIGHTS).read_bytes())
    with (KEPT / "edsr" / CURVE).open() as file:
        (last,) = list(csv.DictReader(file))[-1:]
    with (folder / CURVE).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(last))
        writer.writeheader()
        writer.writerow({**last, "rooms_gain": 0.9})
    _, record = load_or_build("edsr", tmp_path)
    assert (record["trained"], record["missed"]) == (False, {"rooms_gain": 1})
    assert record["views_gain"] == pytest.approx(float(last["views_gain"]))


@pytest.mark.parametrize(
    "curve",
    [None, "", "step,seed,views_gain\n", "step,views_gain,rooms_gain\n1,2,3\n", "step,seed,views_gain,rooms_gain\n1,0"],
)
def test_weights_whose_curve_does_not_say_what_they_reached_are_refused(tmp_path, curve):
    (tmp_path / "edsr").mkdir()
    if curve is not None:
        (tmp_path / "edsr" / CURVE).write_text(curve)
    with pytest.raises(InvalidInput, match=r"curve\.csv' does not say what the run reached.*respin train edsr"):
        training_record("edsr", tmp_path)


def test_a_network_without_a_run_counts_as_not_trained(tmp_path):
    assert load_or_build("edsr", tmp_path)[1]["trained"] is False
