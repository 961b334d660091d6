"""A set of engine plans: built, kept, refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import onnx
import pytest

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.errors import ContractMismatch, InvalidInput
from respin.model_set import MANIFEST, ModelSet, Sizes, records_of, sha256_of
from respin.profiles import PROFILES
from respin_export.errors import BuildFailed
from respin_export.tensorrt.builder import BuildCost, EngineOptions
from respin_export.tensorrt.engine_set import build_engines
from respin_export.tensorrt.flavours import Library
from respin_export.tensorrt.identity import EngineIdentity, engine_records
from respin_server.assemble import assemble

CONTAINER = EngineOptions(Library("tensorrt", "10.5.0"), ("9.0",))
IDENTITY = EngineIdentity("edsr", "a" * 64, "fp16", "image 1 2 4; box 1 1 1", "tensorrt", "10.5.0", "9.0")
OTHER = EngineIdentity("clip_text", "b" * 64, "fp32", "image 1 2 8; box 1 1 1", "tensorrt_rtx", "10.9.0", "8.6")


class Builds:
    """Builds engine plans that hold their network's name, but for those that it cannot."""

    def __init__(self, unable=()):
        self.unable, self.tasks = unable, []

    def __call__(self, task, report):
        self.tasks.append(task)
        report("building", 1, 1)
        if task.network in self.unable:
            raise BuildFailed(f"{task.network}: no kernel")
        task.engine.write_text(task.network)
        return BuildCost(1.5, 2**30, 2**27)

    @property
    def names(self):
        return [task.network for task in self.tasks]


@pytest.fixture
def source(tmp_path):
    """A set of tiny files that are no graphs, with weights beside them."""
    folder = tmp_path / "full"
    records = {}
    for name in NETWORKS:
        (folder / name).mkdir(parents=True)
        (folder / name / "model.onnx").write_text(name)
        (folder / name / "model.onnx.data").write_text("weights")
        records[name] = records_of(folder, folder / name / "model.onnx")
    ModelSet("full", "fp16", Sizes(), records, {"licence": "of the weights"}).save(folder)
    return folder


@pytest.fixture
def output(tmp_path):
    return tmp_path / "full-trt"


def changed(source, name):
    """Export a network of the source again, with other weights."""
    (source / name / "model.onnx.data").write_text("other weights")
    before = ModelSet.load(source)
    records = {**before.networks, name: records_of(source, source / name / "model.onnx")}
    replace(before, networks=records).save(source)


def test_every_engine_of_a_set_is_built_and_recorded(source, output):
    builds = Builds()
    report = build_engines(source, output, CONTAINER, build=builds)
    assert list(report.built) == list(NETWORKS)
    assert not report.kept
    assert not report.failed
    made = ModelSet.load(output)
    made.verify(output)
    assert (made.name, made.precision, made.sizes) == ("full-tensorrt", "fp16", Sizes())
    assert made.origin["source"] == {
        "name": "full",
        "manifest_sha256": sha256_of(source / MANIFEST),
        "origin": {"licence": "of the weights"},
    }
    for name, record in report.built.items():
        assert made.networks[name][0].path == f"{name}/model-{record.identity.key}.plan"
        assert made.origin["engines"][name]["build_s"] == 1.5
        assert made.origin["engines"][name]["peak_rss_bytes"] == 2**30
        assert made.origin["engines"][name]["scratch_bytes"] == 2**27
        assert made.origin["engines"][name]["size_bytes"] == len(name)
        assert made.origin["engines"][name]["identity"]["version"] == "10.5.0"
    assert engine_records(made) == report.built


def test_the_contract_says_what_shapes_to_build_for(source, output):
    builds = Builds()
    build_engines(source, output, CONTAINER, networks=["edsr"], build=builds)
    assert builds.tasks[0].profile["image"] == ((1, 3, 32, 32), (1, 3, 256, 256), (1, 3, 256, 256))
    identity = engine_records(ModelSet.load(output))["edsr"].identity
    assert identity.shapes == "image 1x3x32x32 1x3x256x256 1x3x256x256"
    assert identity.capabilities == "9.0"


def test_engines_that_are_up_to_date_are_kept(source, output):
    first = build_engines(source, output, CONTAINER, networks=["edsr"], build=Builds())
    (engine,) = (output / "edsr").iterdir()
    before = engine.stat().st_mtime_ns
    builds = Builds()
    report = build_engines(source, output, CONTAINER, networks=["edsr", "clip_text"], build=builds)
    assert builds.names == ["clip_text"]
    assert report.kept == first.built
    assert engine.stat().st_mtime_ns == before
    assert sorted(ModelSet.load(output).networks) == ["clip_text", "edsr"]


def test_an_engine_that_fails_does_not_stop_the_others(source, output):
    report = build_engines(source, output, CONTAINER, build=Builds(unable=("sam_encoder", "edsr")))
    assert set(report.failed) == {"sam_encoder", "edsr"}
    assert len(report.built) == len(NETWORKS) - 2
    assert not list((output / "edsr").iterdir())
    again = Builds()
    build_engines(source, output, CONTAINER, build=again)
    assert set(again.names) == {"sam_encoder", "edsr"}
    assert list(ModelSet.load(output).networks) == list(NETWORKS)


def test_a_source_that_is_not_what_its_manifest_records_is_not_built_from(source, output):
    (source / "edsr" / "model.onnx.data").write_text("damaged")
    builds = Builds()
    report = build_engines(source, output, CONTAINER, networks=["edsr"], build=builds)
    assert "is not the file that the manifest records" in str(report.failed["edsr"])
    assert builds.names == []


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("network", "network 'edsr', wanted 'clip_text'"),
        ("weights_sha256", "graph and weights aaaaaaaaaaaa, wanted bbbbbbbbbbbb"),
        ("precision", "precision 'fp16', wanted 'fp32'"),
        ("shapes", "shapes 'image 1 2 4', wanted 'image 1 2 8'"),
        ("flavour", "TensorRT flavour 'tensorrt', wanted 'tensorrt_rtx'"),
        ("version", "TensorRT version '10.5.0', wanted '10.9.0'"),
        ("capabilities", "compute capabilities '9.0', wanted '8.6'"),
    ],
)
def test_every_part_of_an_engines_identity_counts_and_is_said(part, said):
    wanted = replace(IDENTITY, **{part: getattr(OTHER, part)})
    assert wanted.key != IDENTITY.key
    assert IDENTITY.differences(wanted) == [said]
    assert IDENTITY.differences(IDENTITY) == []


def smaller(source):
    replace(ModelSet.load(source), sizes=Sizes(sam_side=256)).save(source)


def in_float32(source):
    replace(ModelSet.load(source), precision="fp32").save(source)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda source: changed(source, "sam_encoder"), CONTAINER, r"graph and weights \w{12}, wanted \w{12};"),
        (in_float32, CONTAINER, "precision 'fp16', wanted 'fp32'"),
        (smaller, CONTAINER, "shapes 'image 1x3x1024x1024 .*', wanted 'image 1x3x256x256 "),
        (None, EngineOptions(Library("tensorrt", "10.9.0"), ("9.0",)), "version '10.5.0', wanted '10.9.0'"),
        (None, EngineOptions(Library("tensorrt", "10.5.0"), ("8.6",)), "capabilities '9.0', wanted '8.6'"),
        (None, EngineOptions(Library("tensorrt_rtx", "10.5.0")), "flavour 'tensorrt', wanted 'tensorrt_rtx'; for comp"),
    ],
    ids=["weights", "precision", "shapes", "version", "capabilities", "flavour"],
)
def test_a_stale_engine_is_refused_in_words_and_stays(source, output, change, options, words):
    build_engines(source, output, CONTAINER, networks=["sam_encoder"], build=Builds())
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    if change:
        change(source)
    builds = Builds()
    with pytest.raises(ContractMismatch, match=f"sam_encoder: built for .*{words}") as refused:
        build_engines(source, output, options, build=builds)
    assert f"respin engines {source} --output {output} --flavour {options.library.flavour}" in str(refused.value)
    assert str(refused.value).endswith("--network sam_encoder --rebuild")
    assert builds.names == []
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before

    report = build_engines(source, output, replace(options, rebuild=True), networks=["sam_encoder"], build=builds)
    assert list(report.built) == ["sam_encoder"]
    assert len(list((output / "sam_encoder").glob("*.plan"))) == 1


def test_engines_that_are_stale_for_the_same_reason_share_a_clause(source, output):
    build_engines(source, output, CONTAINER, build=Builds())
    newer = EngineOptions(Library("tensorrt", "10.9.0"), ("9.0",))
    with pytest.raises(ContractMismatch) as refused:
        build_engines(source, output, newer, networks=["edsr"], build=Builds())
    assert str(refused.value) == (
        f"{', '.join(NETWORKS)}: built for TensorRT version '10.5.0', wanted '10.9.0'; rebuild with: "
        f"respin engines {source} --output {output} --flavour tensorrt --capability 9.0 --rebuild"
    )


def test_a_set_never_mixes_engines_of_two_tensorrts(source, output):
    build_engines(source, output, CONTAINER, networks=["edsr", "clip_text"], build=Builds())
    newer = EngineOptions(Library("tensorrt", "10.9.0"), ("9.0",), rebuild=True)
    with pytest.raises(ContractMismatch, match="clip_text: built for TensorRT version"):
        build_engines(source, output, newer, networks=["edsr"], build=Builds())


def test_a_damaged_engine_is_refused_until_a_rebuild_is_asked_for(source, output):
    build_engines(source, output, CONTAINER, networks=["edsr"], build=Builds())
    (engine,) = (output / "edsr").glob("*.plan")
    engine.write_text("edsx")
    with pytest.raises(ContractMismatch, match=r"edsr: .*edsr/model-\w+\.plan is not the file"):
        build_engines(source, output, CONTAINER, build=Builds())
    build_engines(source, output, replace(CONTAINER, rebuild=True), networks=["edsr"], build=Builds())
    assert engine.read_text() == "edsr"


def test_an_engine_whose_file_is_gone_is_built_again(source, output):
    build_engines(source, output, CONTAINER, networks=["edsr"], build=Builds())
    (engine,) = (output / "edsr").glob("*.plan")
    engine.unlink()
    assert list(build_engines(source, output, CONTAINER, networks=["edsr"], build=Builds()).built) == ["edsr"]


def test_a_record_that_cannot_be_read_is_refused(source, output):
    build_engines(source, output, CONTAINER, networks=["edsr"], build=Builds())
    replace(ModelSet.load(output), origin={"engines": {"edsr": {"key": 1}}}).save(output)
    with pytest.raises(ContractMismatch, match="does not say what its plans were built of"):
        build_engines(source, output, CONTAINER, build=Builds())


def test_a_set_of_graphs_is_not_overwritten(source):
    with pytest.raises(InvalidInput, match=r"holds a set of other files \(\w+/model\.onnx\)"):
        build_engines(source, source, CONTAINER, build=Builds())


@pytest.mark.parametrize("name", ["resnet", "edsr"])
def test_a_network_that_the_set_lacks_is_refused(source, output, name):
    before = ModelSet.load(source)
    replace(before, networks={"clip_text": before.networks["clip_text"]}).save(source)
    with pytest.raises((InvalidInput, ContractMismatch), match=f"no (network ')?{name}"):
        build_engines(source, output, CONTAINER, networks=[name], build=Builds())


def test_a_timing_cache_that_would_stay_empty_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="leave out the timing cache"):
        EngineOptions(Library("tensorrt_rtx", "1.7.1"), timing_cache=tmp_path / "times")


def test_engines_are_laid_out_for_triton(source, output, tmp_path):
    build_engines(source, output, CONTAINER, build=Builds())
    assemble(bundled_path("model_repository"), output, PROFILES["tensorrt"], tmp_path / "served")
    for name in NETWORKS:
        served = tmp_path / "served" / name / "1" / "model.plan"
        assert served.read_text() == name
    with pytest.raises(ContractMismatch, match="choose the profile that the set was made for"):
        assemble(bundled_path("model_repository"), output, PROFILES["onnxruntime"], tmp_path / "elsewhere")


def test_the_command_loads_nothing_heavy_before_it_runs():
    code = (
        "import sys, respin_export.tensorrt.commands\n"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'tensorrt', 'tensorrt_rtx'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "[]\n"


@pytest.mark.parametrize(("axis", "least"), [("guided", 0), ("batch", 1)])
def test_a_graph_that_takes_less_guidance_than_samples_gets_an_engine_that_does_too(source, output, axis, least):
    guidance = onnx.helper.make_tensor_value_info("guidance", onnx.TensorProto.FLOAT, [axis, 1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["guidance"], ["noise"])], "g", [guidance], [])
    onnx.save(onnx.helper.make_model(graph), source / "zero123_unet" / "model.onnx")
    changed(source, "zero123_unet")
    builds = Builds()
    report = build_engines(source, output, CONTAINER, networks=["zero123_unet", "edsr"], build=builds)
    assert builds.tasks[0].profile["guidance"][0] == (least, 1)
    assert f"guidance {least}x1" in report.built["zero123_unet"].identity.shapes
