"""`respin export`: what is made, what is kept, and what is left when something goes wrong."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from isolated_tasks import TinyWeights, be_killed, refuse, succeed

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.errors import InvalidInput
from respin.model_set import ModelSet, Sizes, records_of
from respin_ensemble.networks.onnx import OnnxNetworks
from respin_export.errors import ExportMismatch
from respin_export.example import example_inputs, example_lengths
from respin_export.export_set import ExportPlan, UpToDate, export_set
from respin_export.isolated import TaskDone, TaskFailed, TaskProgress, run_isolated
from respin_export.onnx_file import replace_graph
from respin_export.set_writer import SetWriter

MINI = ModelSet.load(bundled_path("models/mini"))
EDSR = NETWORKS["edsr"]


def run_here(tasks, jobs):
    """As `run_isolated`, without the seconds that a process takes to import torch."""
    for name, task in tasks.items():
        stages = []
        result = task(stages.append)
        yield from (TaskProgress(name, stage) for stage in stages)
        yield TaskDone(name, result, wall_s=1.5, peak_rss_mib=321)


def run_nothing(tasks, jobs):
    assert not tasks
    yield from ()


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    for network in ("edsr", "clip_text"):
        (folder / f"{network}.txt").write_text("1")
    return TinyWeights(folder)


def plan(folder, weights, networks=("edsr", "clip_text"), **changes):
    return ExportPlan(folder, "tiny", MINI.sizes, networks, weights, **changes)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A set of two networks, its weights, and what was said while it was made."""
    root = tmp_path_factory.mktemp("exported")
    (root / "weights").mkdir()
    for network in ("edsr", "clip_text"):
        (root / "weights" / f"{network}.txt").write_text("1")
    events = []
    assert export_set(plan(root / "set", TinyWeights(root / "weights")), events.append, run_here) == []
    return root, events


@pytest.fixture
def copy(exported, tmp_path):
    """The same, to change."""
    shutil.copytree(exported[0], tmp_path / "copy", copy_function=shutil.copy2)
    return tmp_path / "copy" / "set", TinyWeights(tmp_path / "copy" / "weights")


def test_the_manifest_says_where_everything_comes_from(exported):
    folder = exported[0] / "set"
    manifest = ModelSet.load(folder)
    manifest.verify(folder)
    assert (manifest.name, manifest.precision, manifest.sizes) == ("tiny", "fp32", MINI.sizes)
    assert list(manifest.networks) == ["edsr", "clip_text"]
    weights = manifest.origin["weights"]["edsr seed"]
    assert weights["sha256"] == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert (weights["file"], weights["size_bytes"], weights["licence"]) == ("edsr.txt", 1, "of edsr seed")
    for table in ("versions", "parity", "export"):
        assert set(manifest.origin[table]) == {"edsr", "clip_text"}
    assert manifest.origin["versions"]["edsr"]["torch"]
    assert 0 < manifest.origin["parity"]["edsr"]["upscaled"] < 2e-5
    export_row = manifest.origin["export"]["edsr"]
    assert export_row["weights_sha256"] == weights["sha256"]
    assert (export_row["wall_s"], export_row["peak_rss_mib"], export_row["note"]) == (1.5, 321, "a note on edsr")
    assert sorted(path.name for path in folder.iterdir()) == ["clip_text", "edsr", "manifest.json"]


def test_every_stage_is_reported_in_order(exported):
    stages = [event.stage for event in exported[1] if isinstance(event, TaskProgress) and event.name == "edsr"]
    assert stages == ["loading", "computing", "tracing", "writing", "checking"]


def test_what_is_up_to_date_is_kept(copy):
    folder, weights = copy
    before = (folder / "manifest.json").read_bytes()
    events = []
    assert export_set(plan(folder, weights), events.append, run_nothing) == []
    assert events == [UpToDate("edsr"), UpToDate("clip_text")]
    assert (folder / "manifest.json").read_bytes() == before


def tasks_of(folder, weights, **changes):
    """The networks that would be exported again."""
    asked = []

    def run_none_of(tasks, jobs):
        asked.extend(tasks)
        yield from ()

    export_set(plan(folder, weights, **changes), run=run_none_of)
    return asked


def test_a_file_that_drifted_is_exported_again(copy):
    folder, weights = copy
    graph = folder / "edsr" / "model.onnx"
    before = graph.read_bytes()
    graph.write_bytes(before + b"\0")
    assert tasks_of(folder, weights) == ["edsr"]
    assert export_set(plan(folder, weights), run=run_here) == []
    assert graph.read_bytes() == before
    ModelSet.load(folder).verify(folder)


def test_other_weights_options_or_tools_are_exported_again_and_a_touched_file_is_not(copy):
    folder, weights = copy
    os.utime(weights.find("edsr"), ns=(5, 5))
    assert tasks_of(folder, weights) == []
    weights.find("edsr").write_text("2")
    assert tasks_of(folder, weights) == ["edsr"]
    assert tasks_of(folder, weights, options={"slim": True}) == ["edsr", "clip_text"]
    manifest = ModelSet.load(folder)
    older = {**manifest.origin["versions"], "clip_text": {**manifest.origin["versions"]["clip_text"], "torch": "1.0"}}
    replace(manifest, origin={**manifest.origin, "versions": older}).save(folder)
    assert tasks_of(folder, weights) == ["edsr", "clip_text"]


def test_a_network_that_was_not_made_again_keeps_its_own_versions(copy):
    folder, weights = copy
    manifest = ModelSet.load(folder)
    older = {network: {"torch": "1.0"} for network in manifest.networks}
    replace(manifest, origin={**manifest.origin, "versions": older}).save(folder)
    assert export_set(plan(folder, weights, ["edsr"]), run=run_here) == []
    versions = ModelSet.load(folder).origin["versions"]
    assert versions["clip_text"] == {"torch": "1.0"}
    assert versions["edsr"]["torch"] != "1.0"


def test_an_interruption_loses_the_network_under_way_and_no_other(tmp_path, weights):
    def interrupted(tasks, jobs):
        yield from run_here({"edsr": tasks["edsr"]}, jobs)
        _, _, draft = tasks["clip_text"].args
        draft.parent.mkdir()
        draft.write_bytes(b"half a graph")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_set(plan(tmp_path / "set", weights), run=interrupted)
    found = ModelSet.load(tmp_path / "set")
    found.verify(tmp_path / "set")
    assert list(found.networks) == ["edsr"]
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["edsr", "manifest.json"]
    assert tasks_of(tmp_path / "set", weights) == ["clip_text"]


def test_a_kill_between_two_files_leaves_a_set_without_the_network(copy, tmp_path):
    folder, _ = copy
    writer = SetWriter.open(folder, name="tiny", precision="fp32", sizes=MINI.sizes)
    # The draft has gone: moving it fails after the manifest has let go of the network.
    with pytest.raises(FileNotFoundError):
        writer.publish("edsr", Unmovable(tmp_path / "gone" / "model.onnx"), parity={}, export={}, weights={})
    found = ModelSet.load(folder)
    found.verify(folder)
    assert list(found.networks) == ["clip_text"]


class Unmovable(type(Path())):
    """A draft that vanishes while it is moved."""

    @property
    def parent(self):
        raise FileNotFoundError(str(self))


def test_one_network_that_fails_does_not_stop_the_others(copy):
    folder, weights = copy
    weights.find("clip_text").unlink()
    events = []
    failed = export_set(plan(folder, weights, ["clip_text", "edsr"]), events.append, run_nothing)
    assert events == [*failed, UpToDate("edsr")]
    assert "no weights of clip_text" in str(failed[0].error)
    ModelSet.load(folder).verify(folder)


def test_a_folder_of_another_precision_or_of_other_sizes_is_refused(copy):
    folder, weights = copy
    with pytest.raises(InvalidInput, match="holds a set in fp32"):
        export_set(plan(folder, weights, options={"precision": "fp16"}), run=run_nothing)
    with pytest.raises(InvalidInput, match="another folder"):
        export_set(replace(plan(folder, weights), sizes=Sizes()), run=run_nothing)


def test_a_network_with_its_weights_beside_it_is_verified_and_served(tmp_path, weights):
    folder = shutil.copytree(bundled_path("models/mini"), tmp_path / "set")
    options = {"external_above_bytes": 1000}
    assert export_set(plan(folder, weights, ["edsr"], options=options), run=run_here) == []
    found = ModelSet.load(folder)
    found.verify(folder)
    assert [record.path for record in found.networks["edsr"]] == ["edsr/model.onnx", "edsr/model.onnx.data"]
    inputs = example_inputs(EDSR, found.sizes, batch=1, lengths=example_lengths(EDSR, found.sizes))
    served = OnnxNetworks.from_set(folder)(EDSR, **inputs)["upscaled"]
    assert np.isfinite(served).all()
    (folder / "edsr" / "model.onnx.data").write_bytes(b"other")
    assert tasks_of(folder, weights, networks=["edsr"], options=options) == ["edsr"]


def test_weights_beside_an_older_graph_go_with_it(tmp_path):
    old, draft = tmp_path / "old" / "model.onnx", tmp_path / "draft" / "model.onnx"
    for path in (old, draft):
        path.parent.mkdir()
        path.write_bytes(path.parent.name.encode())
    (old.parent / "model.onnx.data").write_bytes(b"old")
    replace_graph(draft, old)
    assert old.read_bytes() == b"draft"
    assert [record.path for record in records_of(tmp_path, old)] == ["old/model.onnx"]


def test_slimmed_a_graph_is_proved_all_the_same(tmp_path, weights, exported):
    assert export_set(plan(tmp_path / "set", weights, ["clip_text"], options={"slim": True}), run=run_here) == []
    slimmed, plain = (
        len(onnx.load(folder / "clip_text" / "model.onnx").graph.node)
        for folder in (tmp_path / "set", exported[0] / "set")
    )
    assert slimmed < plain


def test_each_task_has_a_process_of_its_own_and_fails_alone():
    events = list(run_isolated({"a": be_killed, "b": refuse, "c": succeed}, jobs=2))
    ends = {event.name: event for event in events if not isinstance(event, TaskProgress)}
    assert isinstance(ends["a"], TaskFailed)
    assert "SIGKILL" in str(ends["a"].error)
    assert isinstance(ends["b"].error, InvalidInput)
    assert ends["c"].result == "a result"
    assert ends["c"].peak_rss_mib > 10
    assert TaskProgress("c", "loading") in events


def test_a_network_is_exported_in_a_process_of_its_own(tmp_path, weights):
    events = []
    assert export_set(plan(tmp_path / "set", weights, ["edsr"]), events.append) == []
    ModelSet.load(tmp_path / "set").verify(tmp_path / "set")
    assert events[-1].peak_rss_mib > 100


def test_a_config_beside_a_file_is_part_of_what_a_network_is_made_of(copy):
    folder, weights = copy
    (weights.folder / "config.json").write_text("{}")
    assert tasks_of(folder, weights, networks=["edsr"]) == ["edsr"]


def test_mismatches_are_not_the_callers_mistake(tmp_path, weights):
    def mismatch(tasks, jobs):
        yield TaskFailed("edsr", ExportMismatch("edsr differs"))

    failed = export_set(plan(tmp_path / "set", weights, ["edsr"]), run=mismatch)
    assert [str(each.error) for each in failed] == ["edsr differs"]
