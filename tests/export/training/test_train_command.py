"""`respin train`: what it refuses, in what order it trains, and where it starts from."""

import pytest

from respin.errors import InvalidInput, RespinError
from respin_export.isolated import TaskDone, TaskProgress
from respin_export.training import commands
from respin_export.training.commands import NEEDS, NETWORKS, train
from respin_export.training.recipes import RECIPES, TRAINED
from respin_export.training.run_files import DATA, WEIGHTS


def test_every_run_has_a_recipe_and_comes_after_the_one_that_it_needs():
    assert list(RECIPES) == list(NETWORKS)
    waves = commands._waves(NETWORKS)
    place = {name: index for index, wave in enumerate(waves) for name in wave}
    assert all(place[name] > place[needed] for name, needed in NEEDS.items())
    assert {run for run, _ in TRAINED.values()} <= set(NETWORKS)


def test_an_unknown_network_is_refused_with_those_that_there_are(tmp_path):
    with pytest.raises(InvalidInput, match="no network 'resnet' to train; choose one of vae"):
        train("resnet", output=tmp_path)


def test_weights_to_start_from_are_copied_once(tmp_path):
    kept, runs = tmp_path / "kept", tmp_path / "runs"
    (kept / "edsr").mkdir(parents=True)
    (kept / "edsr" / WEIGHTS).write_bytes(b"kept")
    commands._take_weights(kept, runs)
    assert (runs / "edsr" / WEIGHTS).read_bytes() == b"kept"
    (runs / "edsr" / WEIGHTS).write_bytes(b"trained on")
    commands._take_weights(kept, runs)
    assert (runs / "edsr" / WEIGHTS).read_bytes() == b"trained on"
    assert not (runs / "vae").exists()
    with pytest.raises(InvalidInput, match="no runs with a"):
        commands._take_weights(tmp_path / "empty", runs)


def test_the_kept_vae_is_the_one_of_its_decoders_run(tmp_path):
    kept, runs = tmp_path / "kept", tmp_path / "runs"
    (kept / "vae_decoder").mkdir(parents=True)
    (kept / "vae_decoder" / WEIGHTS).write_bytes(b"both halves")
    commands._take_weights(kept, runs)
    assert (runs / "vae" / WEIGHTS).read_bytes() == (runs / "vae_decoder" / WEIGHTS).read_bytes() == b"both halves"


def test_a_network_whose_vae_is_not_trained_says_so(tmp_path):
    with pytest.raises(RespinError, match=r"zero123: no weights.*train vae_decoder first"):
        commands._train("zero123", tmp_path, {}, lambda _: None)


def test_a_log_gets_a_line_for_each_tenth_and_for_what_a_run_says(capsys):
    with commands._Board(["edsr"]) as board:
        for share in (0.0, 0.05, 0.12, 0.19, 1.0):
            board.show(DATA, share, "rooms")
        board.show("edsr", 0.25, "step 100 of 400  psnr 31.2")
    assert capsys.readouterr().out.splitlines() == [
        "data: 0% rooms",
        "data: 12% rooms",
        "data: 100% rooms",
        "edsr: 25% step 100 of 400  psnr 31.2",
    ]


def test_a_run_that_was_stopped_is_not_shown_as_done(monkeypatch, tmp_path, capsys):
    def run_two(tasks, jobs):
        yield TaskProgress("edsr", "0.2500 step 225 of 900  score 5.31")
        yield TaskDone("edsr", "0.2500 ended at step 225 of 900", 61.0, 500.0)

    monkeypatch.setattr(commands, "_render", lambda *_: None)
    monkeypatch.setattr(commands, "run_isolated", run_two)
    assert commands.train_all(["edsr"], tmp_path, jobs=1, settings={}) == []
    assert capsys.readouterr().out.splitlines()[-1] == "edsr: 25% ended at step 225 of 900"
