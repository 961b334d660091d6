"""Laying out a servable repository by links."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from respin import pbtxt
from respin.bundled import bundled_path
from respin.contracts import JOBS, MODELS, NETWORKS
from respin.errors import ContractMismatch, InvalidInput
from respin.limits import EngineLimits
from respin.model_set import MANIFEST, ModelSet, Sizes, records_of
from respin.profiles import PROFILES
from respin_server.assemble import Assembled, assemble

ANSWERLESS = """
class TritonPythonModel:
    def execute(self, requests):
        return []
"""


@pytest.fixture
def repository(tmp_path):
    """The configs of every model as rendered, each with a model.py that does nothing."""
    folder = tmp_path / "model_repository"
    pbtxt.main(["--repository", str(folder)])
    for name in MODELS:
        (folder / name / "1").mkdir()
        (folder / name / "1" / "model.py").write_text(ANSWERLESS)
    return folder


@pytest.fixture
def make_set(tmp_path):
    """A set of tiny files that are no graphs."""

    def make(name="tiny", file="model.onnx", networks=tuple(NETWORKS), beside=()):
        folder = tmp_path / name
        records = {}
        for network in networks:
            (folder / network).mkdir(parents=True)
            for each in (file, *beside):
                (folder / network / each).write_text(network)
            records[network] = records_of(folder, folder / network / file)
        ModelSet(name, "fp32", Sizes(), records).save(folder)
        return folder

    return make


@pytest.fixture
def lay_out(repository, tmp_path):
    def with_profile(models, profile="cpu", output=tmp_path / "served"):
        assemble(repository, models, PROFILES[profile], output)
        return output

    return with_profile


def files_in(folder):
    """Every file and link of a folder, but for the marker."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if (path.is_file() or path.is_symlink()) and path.parent != folder
    }


@pytest.mark.parametrize("profile", ["cpu", "onnxruntime"])
def test_each_network_is_a_model_with_its_file(make_set, lay_out, profile):
    served = lay_out(make_set(), profile)
    code = {"model.py"} if profile == "cpu" else set()
    for network in NETWORKS:
        assert {path.name for path in (served / network / "1").iterdir()} == {"model.onnx", *code}
        assert (served / network / "config.pbtxt").is_file()
        assert (served / network / "1" / "model.onnx").read_text() == network
    for job in JOBS:
        assert (served / job / "1" / "model.py").is_file()
    assert json.loads((served / "rotate_object_stream" / "1" / MANIFEST).read_text())["name"] == "tiny"


def test_in_process_networks_lie_with_the_engine(make_set, lay_out):
    served = lay_out(make_set(), "local")
    assert {path.name for path in served.iterdir() if path.is_dir()} == set(JOBS)
    for network in NETWORKS:
        assert (served / "rotate_object_stream/1/networks" / network / "model.onnx").read_text() == network


def test_a_tensorrt_set_is_served_under_the_name_that_triton_wants(make_set, lay_out):
    served = lay_out(make_set(file="model-h100.plan"), "tensorrt")
    assert (served / "edsr" / "1" / "model.plan").read_text() == "edsr"
    assert (served / "edsr" / "configs" / "tensorrt.pbtxt").is_file()


def of_flavour(models, flavour):
    """The set, with the record of `respin engines` in its manifest."""
    engines = {name: {"identity": {"flavour": flavour}} for name in NETWORKS}
    replace(ModelSet.load(models), origin={"engines": engines}).save(models)
    return models


def test_engines_that_triton_cannot_load_are_refused(make_set, lay_out):
    models = make_set(file="model-1.plan")
    served = lay_out(of_flavour(models, "tensorrt"), "tensorrt")
    with pytest.raises(ContractMismatch, match=r"engine plans of tensorrt_rtx \(grounding_dino, .*--flavour tensorrt"):
        lay_out(of_flavour(models, "tensorrt_rtx"), "tensorrt")
    assert (served / "edsr" / "1" / "model.plan").read_text() == "edsr"


def test_nothing_is_copied(make_set, lay_out, tmp_path):
    served = lay_out(make_set())
    for path in files_in(served):
        assert (served / path).is_symlink()
        assert (served / path).readlink().is_absolute()


def test_weights_beside_the_graph_come_along(make_set, lay_out):
    models = make_set(beside=["model.onnx.data"])
    (models / "edsr" / "notes.txt").write_text("notes")
    served = lay_out(models)
    assert {path.name for path in (served / "edsr" / "1").iterdir()} == {"model.onnx", "model.onnx.data", "model.py"}


def test_assembling_again_leaves_nothing_stale(make_set, lay_out):
    served = lay_out(make_set(), "cpu")
    (served / "edsr" / "1" / "__pycache__").mkdir()
    lay_out(make_set("other"), "local")
    assert {path.name for path in served.iterdir() if path.is_dir()} == set(JOBS)
    assert Assembled.load(served) == Assembled("local", "other", runtime="onnxruntime on cpu")


def test_an_assembled_repository_remembers_what_its_set_cannot_do(lay_out, make_set):
    folder = make_set()
    scenes_only = replace(ModelSet.load(folder), origin={"knows": "rendered scenes"})
    scenes_only.save(folder)
    assert Assembled.load(lay_out(folder)).notes == scenes_only.notes != ()


def test_a_refused_assembly_leaves_the_last_one_whole(make_set, lay_out):
    served = lay_out(make_set())
    before = files_in(served)
    with pytest.raises(ContractMismatch):
        lay_out(make_set("other", networks=("edsr",)))
    assert files_in(served) == before
    assert Assembled.load(served).set_name == "tiny"


def test_an_empty_folder_is_used(make_set, lay_out, tmp_path):
    (tmp_path / "empty").mkdir()
    assert (lay_out(make_set(), output=tmp_path / "empty") / "edsr").is_dir()


def test_what_someone_else_made_is_not_replaced(make_set, lay_out, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("one")
    with pytest.raises(InvalidInput, match="choose another folder"):
        lay_out(make_set(), output=tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "one"


def test_a_file_is_not_replaced(make_set, lay_out, tmp_path):
    (tmp_path / "file").write_text("one")
    with pytest.raises(InvalidInput, match="is not a folder"):
        lay_out(make_set(), output=tmp_path / "file")


def test_a_link_is_not_followed(make_set, lay_out, tmp_path):
    served = lay_out(make_set())
    (tmp_path / "link").symlink_to(served)
    with pytest.raises(InvalidInput, match="is not a folder"):
        lay_out(make_set("other"), output=tmp_path / "link")


def test_a_set_that_lacks_a_network_is_refused(make_set, lay_out, tmp_path):
    with pytest.raises(ContractMismatch, match="set 'tiny' has no "):
        lay_out(make_set(networks=("edsr",)))
    assert not (tmp_path / "served").exists()


def test_a_file_that_is_not_the_manifests_is_refused(make_set, lay_out):
    models = make_set()
    (models / "edsr" / "model.onnx").write_text("edsR")
    with pytest.raises(ContractMismatch, match=r"edsr/model\.onnx is not the file that the manifest records"):
        lay_out(models)


def test_a_folder_without_a_manifest_is_no_set(lay_out, tmp_path):
    with pytest.raises(ContractMismatch, match=r"no manifest\.json"):
        lay_out(tmp_path)


def test_a_set_for_another_profile_is_refused(make_set, lay_out):
    with pytest.raises(ContractMismatch, match=r"holds model\.plan files, profile 'cpu' serves \.onnx files"):
        lay_out(make_set(file="model.plan"))


def test_a_config_that_is_missing_is_named(make_set, lay_out, repository):
    (repository / "segment_object" / "configs" / "local.pbtxt").unlink()
    with pytest.raises(ContractMismatch, match=r"has no segment_object/configs/local\.pbtxt"):
        lay_out(make_set(), "local")


def test_a_model_without_code_is_named(make_set, lay_out, repository):
    (repository / "edsr" / "1" / "model.py").unlink()
    with pytest.raises(ContractMismatch, match=r"edsr/1/model\.py' is missing"):
        lay_out(make_set())


def test_a_folder_that_was_not_assembled_has_no_marker(tmp_path):
    with pytest.raises(InvalidInput, match="was not made by `respin assemble`"):
        Assembled.load(tmp_path)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_bundled_repository_can_be_assembled_for_every_profile(make_set, tmp_path, profile):
    models = make_set(file=PROFILES[profile].network_file)
    assemble(bundled_path("model_repository"), models, PROFILES[profile], tmp_path / "served")
    for link in (tmp_path / "served").rglob("*"):
        assert link.exists(), f"{Path(link)} leads nowhere"


@pytest.mark.triton
def test_triton_follows_the_links_to_the_profiles_own_configs(make_set, lay_out, embedded):
    from tritonclient import grpc as triton

    served = lay_out(make_set(), "local")
    with embedded(served, profile="local") as server:
        assert set(server.models) == set(JOBS)
        with triton.InferenceServerClient(str(server.endpoints["gRPC"])) as client:
            config = client.get_model_config("rotate_object_stream").config
    assert config.parameters["networks"].string_value == "in_process"


def test_the_engines_limits_are_links_by_default_and_files_of_their_own_where_they_are_others(
    repository, make_set, tmp_path
):
    models, config = make_set(), Path("rotate_object_stream/configs/local.pbtxt")
    assemble(repository, models, PROFILES["local"], tmp_path / "usual")
    assemble(repository, models, PROFILES["local"], tmp_path / "other", EngineLimits(max_jobs=3))
    assert (tmp_path / "usual" / config).read_text() == (repository / config).read_text()
    limited = tmp_path / "other" / config
    assert limited.read_text() == pbtxt.render(
        JOBS["rotate_object_stream"], PROFILES["local"], EngineLimits(max_jobs=3)
    )
    assert limited.read_text() != (repository / config).read_text(), "what was linked to is as it was"


@pytest.mark.parametrize("profile", ["cpu", "local"])
@pytest.mark.parametrize("path", ["edsr/model.py", "../model_repository/edsr/1/model.py", "/etc/passwd"])
def test_a_set_cannot_bring_a_file_that_is_no_network(make_set, lay_out, profile, path):
    models = make_set()
    manifest = json.loads((models / MANIFEST).read_text())
    stranger = {"path": path, "sha256": "0" * 64, "size_bytes": 7}
    manifest["networks"]["edsr"].append(stranger)
    (models / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ContractMismatch, match=r"a path of edsr is not 'edsr/model\.onnx'"):
        lay_out(models, profile)
    assert not (models.parent / "served").exists()


@pytest.mark.parametrize(
    "engines", ["none", ["edsr"], {"edsr": None}, {"edsr": {"identity": "rtx"}}, {"edsr": {"identity": {}}}]
)
def test_an_origin_of_another_form_says_nothing_about_engines(make_set, lay_out, engines):
    models = make_set(file="model.plan")
    replace(ModelSet.load(models), origin={"engines": engines}).save(models)
    assert files_in(lay_out(models, "tensorrt"))


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", '{"profile": 1, "notes": 5}', "\x00"])
def test_a_marker_of_another_form_is_no_marker(tmp_path, text):
    (tmp_path / ".respin-assembled.json").write_text(text)
    with pytest.raises(InvalidInput, match="was not made by `respin assemble`"):
        Assembled.load(tmp_path)
