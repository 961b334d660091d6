"""`respin setup`: what it makes, what it keeps, what it refuses, and the command that serves the result."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from rich.console import Console
from rich.progress import Progress
from typer.testing import CliRunner

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.errors import InvalidInput
from respin.model_set import ModelSet
from respin_export.errors import BuildFailed, ExportMismatch
from respin_export.export_set import ExportResult
from respin_export.isolated import TaskDone, TaskFailed, TaskProgress
from respin_export.progress import bars
from respin_export.setup.commands import fetch_published, setup
from respin_export.setup.plan import DRAFT_MIB, GRAPHS_MIB, SetupPlan
from respin_export.setup.steps import SetupTools, SetupView, check_disks, run_setup, steps_of
from respin_export.tensorrt.builder import BuildCost, EngineOptions
from respin_export.tensorrt.engine_set import engines_folder
from respin_export.tensorrt.flavours import Library
from respin_export.weights.catalogue import CATALOGUE, choose
from respin_export.weights.fetch import DownloadSource
from respin_export.weights.verify import SYNTHESIZED

RTX = EngineOptions(Library("tensorrt_rtx", "1.7.1", ("8.6",)), rebuild=True)
FILES = {
    "grounding_dino": "groundingdino_swint_ogc.pth",
    "sam": "sam_vit_l_0b3195.pth",
    "zero123": "zero123-xl.ckpt",
    "edsr": "edsr_x4-4f62e9ef.pt",
    "inpaint": "sd-v1-5-inpainting.ckpt",
}


class Tools:
    """Tools that write what they are asked for as small files, and remember it."""

    def __init__(self, unable: str = "", unbuildable: str = "") -> None:
        self.unable, self.unbuildable = unable, unbuildable
        self.fetched, self.exported, self.built, self.ungated = [], [], [], set()

    def fetch(self, plan, view):
        for name, file in FILES.items():
            if not (plan.weights / name / file).is_file():
                (plan.weights / name).mkdir(parents=True, exist_ok=True)
                (plan.weights / name / file).write_text(f"weights of {name}")
                self.fetched.append(name)
                yield f"{name}: fetched"

    def run(self, tasks, jobs):
        for name, task in tasks.items():
            yield TaskProgress(name, "tracing")
            if name == self.unable:
                yield TaskFailed(name, ExportMismatch(f"{name}: rel L2 is 0.4"))
                continue
            # The task's arguments: plan, network, path of the draft.
            path = task.args[2]
            self.ungated |= set(task.args[0].ungated)
            path.parent.mkdir(parents=True)
            path.write_text(f"graph of {name} from {task.args[0].source.find(name).read_text()}")
            self.exported.append(name)
            yield TaskDone(name, ExportResult({"output": 2e-5}, None), wall_s=1.5, peak_rss_mib=321)

    def build(self, task, report):
        report("building", 1, 2)
        if task.network == self.unbuildable:
            raise BuildFailed(f"{task.network}: no kernel")
        task.engine.write_text(f"engine of {task.network}")
        self.built.append(task.network)
        return BuildCost(1.5, 2**30, None)

    @property
    def given(self):
        return SetupTools(self.fetch, RTX, run=self.run, build=self.build)


@pytest.fixture
def plan(tmp_path):
    return SetupPlan(tmp_path / "weights", tmp_path / "models", "cuda", "tensorrt", flavour="tensorrt_rtx")


def said(plan, tools):
    text = io.StringIO()
    with bars(Console(file=text, width=200)) as progress:
        run_setup(plan, tools.given, SetupView(steps_of(plan), progress))
    return text.getvalue()


def test_everything_is_made_and_said_in_one_view(plan):
    tools = Tools()
    text = said(plan, tools)
    assert tools.fetched == list(FILES)
    assert tools.exported == tools.built == list(NETWORKS)
    assert tools.ungated == set()
    steps = [line for line in text.splitlines() if line.startswith("step ")]
    assert steps == [f"step {n} of 4: {name}" for n, name in enumerate(("weights", "export", "engines", "checks"), 1)]
    assert f"{plan.graphs}: 10 networks in fp16, " in text
    assert "checksums right; greatest error 2.0e-05" in text
    assert ModelSet.load(plan.graphs).name == "full-fp16"
    assert ModelSet.load(plan.engines).name == "full-fp16-tensorrt_rtx"
    assert plan.engines == engines_folder(plan.graphs, RTX.library)


def test_what_is_done_is_not_done_again(plan):
    said(plan, Tools())
    again = Tools()
    text = said(plan, again)
    assert (again.fetched, again.exported, again.built) == ([], [], [])
    assert text.count(": up to date") == 2 * len(NETWORKS)


def test_a_step_that_failed_is_gone_on_with(plan):
    with pytest.raises(ExportMismatch, match="1 of 10 networks were not exported"):
        said(plan, Tools(unable="edsr"))
    assert not plan.engines.exists()
    with pytest.raises(BuildFailed, match="not built: sam_decoder"):
        said(plan, Tools(unbuildable="sam_decoder"))
    last = Tools()
    said(plan, last)
    assert (last.fetched, last.exported, last.built) == ([], [], ["sam_decoder"])


def test_other_weights_are_exported_and_built_again(plan):
    said(plan, Tools())
    (plan.weights / "edsr" / FILES["edsr"]).write_text("other weights of edsr")
    again = Tools()
    said(plan, again)
    assert again.exported == again.built == ["edsr"]


def test_a_damaged_file_is_made_again(plan):
    plan = replace(plan, runtime="onnxruntime", flavour=None)
    said(plan, Tools())
    (plan.graphs / "edsr" / "model.onnx").write_text("damaged")
    again = Tools()
    assert "checksums right" in said(plan, again)
    assert again.exported == ["edsr"]


def test_random_weights_are_taken_as_they_are(plan):
    tools = Tools()
    list(tools.fetch(plan, None))
    (plan.weights / SYNTHESIZED).write_text(json.dumps({"size": "mini", "seed": 0}))
    again = Tools()
    assert "nothing is fetched" in said(plan, again)
    assert again.fetched == []
    assert again.ungated == {"grounding_dino"}
    shutil.rmtree(plan.weights / "edsr")
    with pytest.raises(InvalidInput, match="no edsr checkpoint"):
        said(plan, Tools())


def test_torch_needs_the_weights_and_nothing_else(tmp_path):
    plan = SetupPlan(tmp_path / "weights", tmp_path / "models", "cpu", "torch")
    tools = Tools()
    said(plan, tools)
    assert (tools.fetched, tools.exported, tools.built) == (list(FILES), [], [])
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("choices", "command"),
    [
        (("cpu", "onnxruntime"), "respin serve --models models/full"),
        (("cuda", "onnxruntime"), "respin serve --models models/full-fp16 --device cuda --runtime onnxruntime"),
        (("cpu", "onnxruntime", "fp16"), "respin serve --models models/full-fp16"),
        (
            ("cuda", "tensorrt", None, "tensorrt"),
            "respin serve --models models/full-fp16-tensorrt --device cuda --runtime tensorrt",
        ),
        (("cuda", "torch"), "respin serve --weights weights --device cuda --runtime torch"),
    ],
)
def test_it_ends_with_the_command_that_serves_what_was_made(choices, command):
    assert SetupPlan(Path("weights"), Path("models"), *choices).serve_command == command


def test_choices_that_do_not_go_together_are_refused():
    with pytest.raises(InvalidInput, match="TensorRT runs on GPUs only; give --device cuda"):
        SetupPlan(Path("weights"), Path("models"), "cpu", "tensorrt")
    with pytest.raises(InvalidInput, match="leave out --precision"):
        SetupPlan(Path("weights"), Path("models"), "cuda", "torch", "fp16")


def test_a_disk_without_room_is_said_before_anything_is_fetched(plan, tmp_path):
    with pytest.raises(InvalidInput, match=r"weights', '.*models' will take about 39\.\d GB and"):
        check_disks(plan, lambda _: 30_000_000_000, lambda _: 1)
    with pytest.raises(InvalidInput, match=r"weights' will take about \d\d\.\d GB and"):
        check_disks(plan, lambda _: 18_000_000_000, lambda folder: hash(folder.name))
    check_disks(plan, lambda _: 30_000_000_000, lambda folder: hash(folder.name))
    plan.weights.mkdir()
    (plan.weights / SYNTHESIZED).write_text("{}")
    check_disks(plan, lambda _: 0, lambda _: 1)


def test_what_is_there_takes_no_more_room(plan):
    (weights, needed), (models, needed_of_sets) = plan.missing_bytes()
    assert (weights, models) == (plan.weights, plan.models)
    part = plan.weights / "zero123" / "zero123-xl.ckpt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"0" * 1000)
    shutil.copytree(bundled_path("models/mini"), plan.graphs)
    (_, left), (_, left_of_sets) = plan.missing_bytes()
    assert needed - left == 1000
    assert needed_of_sets - left_of_sets == (GRAPHS_MIB["fp16"] + DRAFT_MIB) * 2**20


def command(*arguments):
    app = typer.Typer()
    app.command()(setup)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--flavour", "tensorrt_rtx"), "--flavour tensorrt_rtx is for --runtime tensorrt only"),
        (("--device", "cpu", "--runtime", "tensorrt", "--flavour", "tensorrt_rtx"), "TensorRT runs on GPUs only"),
        (("--device", "cuda", "--runtime", "tensorrt", "--flavour", "openvino"), "choose of tensorrt, tensorrt_rtx"),
        (("--mirror", "ftp://mirror"), "--mirror is 'ftp://mirror'"),
    ],
)
def test_what_cannot_be_set_up_is_refused_before_anything_is_written(arguments, words, tmp_path):
    folders = ("--weights", tmp_path / "weights", "--models", tmp_path / "models")
    result = command("full", *folders, *arguments)
    assert isinstance(result.exception, InvalidInput)
    assert words in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_the_licences_come_before_the_first_file(tmp_path):
    plan = SetupPlan(tmp_path / "weights", tmp_path / "models", "cpu", "torch")
    fetching = fetch_published(DownloadSource(folder=tmp_path), plan, SetupView([], Progress(disable=True)))
    said = [next(fetching) for _ in CATALOGUE]
    assert all(
        f"{name}: licence {CATALOGUE[name].licence}; " in line for name, line in zip(CATALOGUE, said, strict=True)
    )
    with pytest.raises(InvalidInput, match="has no groundingdino_swint_ogc"):
        next(fetching)


def test_the_variant_that_is_there_is_the_one_that_is_fetched(tmp_path):
    plan = SetupPlan(tmp_path / "weights", tmp_path / "models", "cpu", "torch")
    assert [each.name for each in plan.checkpoints] == [choose(name).name for name in CATALOGUE]
    (plan.weights / "edsr").mkdir(parents=True)
    (plan.weights / "edsr" / choose("edsr:baseline").variant.files[0].path).write_bytes(b"")
    assert "edsr:baseline" in [each.name for each in plan.checkpoints]
