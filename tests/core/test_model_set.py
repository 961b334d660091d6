"""Sets of weights and their manifests."""

import json
import os
import tracemalloc
from dataclasses import replace

import pytest

from respin.contracts.networks import CLIP_TEXT, EDSR, SAM_ENCODER, VAE_ENCODER
from respin.errors import ContractMismatch
from respin.model_set import MANIFEST, ModelSet, Sizes, records_of


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "edsr" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    ModelSet("tiny", "fp32", Sizes(sam_side=256), {"edsr": records_of(tmp_path, path)}).save(tmp_path)
    return tmp_path


def test_a_manifest_survives_the_disk(folder):
    loaded = ModelSet.load(folder)
    assert loaded.sizes.sam_side == 256
    assert loaded.file(folder, EDSR).read_bytes() == b"weights"
    loaded.verify(folder)


def test_a_changed_file_is_noticed(folder):
    (folder / "edsr/model.onnx").write_bytes(b"WEIGHTS")
    with pytest.raises(ContractMismatch, match="is not the file that the manifest records"):
        ModelSet.load(folder).verify(folder)


def test_weights_beside_a_graph_are_part_of_it(folder):
    beside = folder / "edsr/model.onnx.data"
    beside.write_bytes(b"more weights")
    ModelSet("tiny", "fp32", Sizes(), {"edsr": records_of(folder, folder / "edsr/model.onnx")}).save(folder)
    loaded = ModelSet.load(folder)
    assert loaded.file(folder, EDSR).name == "model.onnx"
    beside.write_bytes(b"MORE weights")
    with pytest.raises(ContractMismatch, match=r"edsr/model\.onnx\.data is not the file"):
        loaded.verify(folder)


def test_a_missing_file_is_noticed(folder):
    (folder / "edsr/model.onnx").unlink()
    with pytest.raises(ContractMismatch, match=r"edsr/model\.onnx is missing; export edsr again"):
        ModelSet.load(folder).verify(folder)


def test_a_network_that_the_set_lacks_is_named(folder):
    with pytest.raises(ContractMismatch, match="no sam_encoder; it has edsr"):
        ModelSet.load(folder).file(folder, SAM_ENCODER)


FILE = {"path": "edsr/model.onnx", "sha256": "0" * 64, "size_bytes": 7}
GOOD = {"name": "tiny", "precision": "fp32", "sizes": {}, "networks": {"edsr": [FILE]}}

MALFORMED = {
    "not UTF-8": (b'{"name": "\xff"}', "byte 10 is not UTF-8"),
    "cut off": (json.dumps(GOOD)[:-9], "Unterminated string"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "deep within": ('{"origin": ' + '{"a": ' * 100_000, "nested too deeply"),
    "a list": ("[]", "it holds no JSON object"),
    "a key twice": ('{"name": "a", "name": "b"}', "the key 'name' twice"),
    "NaN": ('{"name": NaN}', "the number NaN"),
    "infinite": ('{"name": 1e999}', "the number 1e999"),
    "a name that is a number": ({"name": 5}, "'name' is missing, or not a short name"),
    "a name of 10 kB": ({"name": "x" * 10_000}, "'name' is missing, or not a short name"),
    "a name of two lines": ({"name": "a\nb"}, "'name' is missing, or not a short name"),
    "no precision": ({"precision": None}, "'precision' is missing"),
    "no sizes": ({"sizes": None}, "'sizes' is missing, or no object"),
    "an unknown size": ({"sizes": {"side": 1}}, "there is no size 'side'"),
    "a size below 0": ({"sizes": {"sam_side": -5}}, "'sam_side' must be sam_side 256..1024 by 16"),
    "a size that is text": ({"sizes": {"view_side": "256"}}, "'view_side' must be view_side 64..256 by 64"),
    "a size of millions": ({"sizes": {"inpaint_side": 10**7}}, "'inpaint_side' must be inpaint_side 64..768"),
    "a size that is true": ({"sizes": {"detection_long_side": True}}, "'detection_long_side' must be height 64..1333"),
    "a size that is a fraction": ({"sizes": {"sam_side": 512.0}}, "'sam_side' must be"),
    "a size between two steps": ({"sizes": {"view_side": 100}}, "'view_side' must be"),
    "a share of nothing": ({"sizes": {"object_share": 0}}, "'object_share' must be a number from 0.01 to 1"),
    "sides in the wrong order": ({"sizes": {"detection_long_side": 300}}, "'detection_short_side' is longer"),
    "networks in a list": ({"networks": [FILE]}, "'networks' is missing, or no object"),
    "an unknown network": ({"networks": {"../edsr": [FILE]}}, "there is no network '../edsr'"),
    "a network without files": ({"networks": {"edsr": []}}, "'networks.edsr' is no list of files"),
    "a file that is a path": ({"networks": {"edsr": ["edsr/model.onnx"]}}, "objects of path, sha256 and size_bytes"),
    "a file with more to it": ({"networks": {"edsr": [{**FILE, "mode": 7}]}}, "objects of path, sha256 and size_bytes"),
    "a size of -5 bytes": (
        {"networks": {"edsr": [{**FILE, "size_bytes": -5}]}},
        "a size of edsr is no number of bytes",
    ),
    "a size in text": ({"networks": {"edsr": [{**FILE, "size_bytes": "7"}]}}, "a size of edsr is no number of bytes"),
    "no checksum": ({"networks": {"edsr": [{**FILE, "sha256": ""}]}}, "'sha256' is missing, or not 64 hexadecimal"),
    "a file twice": ({"networks": {"edsr": [FILE, FILE]}}, "must be one graph and the weights beside it"),
    "weights without a graph": (
        {"networks": {"edsr": [{**FILE, "path": "edsr/model.onnx.data"}]}},
        "must be one graph and the weights beside it",
    ),
}


@pytest.mark.parametrize(("content", "said"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_manifest_is_refused_in_a_sentence(tmp_path, content, said):
    text = json.dumps({**GOOD, **content}) if isinstance(content, dict) else content
    (tmp_path / MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ContractMismatch) as caught:
        ModelSet.load(tmp_path)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "export the set again" in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "edsr/model.py",
        "edsr/config.pbtxt",
        "edsr/../../model.onnx",
        "../model.onnx",
        "/etc/passwd",
        "/edsr/model.onnx",
        "model.onnx",
        "sam_encoder/model.onnx",
        "edsr/sub/model.onnx",
        "edsr//model.onnx",
        "edsr/model.onnx\n",
        "edsr/model.onnx.data.py",
        "edsr/model.so",
        "edsr/",
        "",
        5,
    ],
)
def test_a_manifest_names_only_files_that_a_network_has_in_its_own_folder(tmp_path, path):
    (tmp_path / MANIFEST).write_text(json.dumps({**GOOD, "networks": {"edsr": [{**FILE, "path": path}]}}))
    with pytest.raises(ContractMismatch, match="cannot be read"):
        ModelSet.load(tmp_path)


@pytest.mark.parametrize("linked", ["edsr/model.onnx", "edsr"])
def test_a_link_out_of_the_sets_folder_is_refused(folder, tmp_path_factory, linked):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "model.onnx").write_bytes((folder / "edsr/model.onnx").read_bytes())
    os.rename(folder / linked, folder / "before")
    (folder / linked).symlink_to(outside if linked == "edsr" else outside / "model.onnx")
    loaded = ModelSet.load(folder)
    for look in (lambda: loaded.verify(folder), lambda: loaded.file(folder, EDSR)):
        with pytest.raises(ContractMismatch, match=r"edsr/model\.onnx leads out of the set's folder"):
            look()


def test_a_set_may_be_reached_by_a_link_and_link_within_itself(folder, tmp_path_factory):
    os.rename(folder / "edsr/model.onnx", folder / "stored")
    (folder / "edsr/model.onnx").symlink_to(folder / "stored")
    link = tmp_path_factory.mktemp("links") / "set"
    link.symlink_to(folder)
    ModelSet.load(link).verify(link)


def test_a_manifest_of_a_gigabyte_is_refused_before_memory_is_taken(tmp_path):
    with (tmp_path / MANIFEST).open("wb") as file:
        file.truncate(2**30)
    tracemalloc.start()
    with pytest.raises(ContractMismatch, match="it has 1073741824 bytes, more than 4194304"):
        ModelSet.load(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("stands_there", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_no_manifest(tmp_path, stands_there):
    stands_there(tmp_path / MANIFEST)
    with pytest.raises(ContractMismatch, match="it is not a file"):
        ModelSet.load(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", json.dumps({"name": "x", "precision": "fp32", "sizes": {"side": 1}, "networks": {}})]
)
def test_a_manifest_of_another_form_is_refused(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ContractMismatch, match="cannot be read"):
        ModelSet.load(tmp_path)


def test_a_folder_that_is_no_set_is_refused(tmp_path):
    with pytest.raises(ContractMismatch, match="name the folder of a set"):
        ModelSet.load(tmp_path)


def test_a_set_says_what_it_knows_and_which_networks_are_not_trained(folder):
    records = dict(ModelSet.load(folder).networks)
    networks = {
        name: tuple(replace(record, path=f"{name}/model.onnx") for record in records["edsr"])
        for name in ("grounding_dino", "edsr", "clip_text")
    }
    training = {"grounding_dino": {"trained": False}, "edsr": {"trained": False}, "clip_text": {"trained": True}}
    ModelSet("tiny", "fp32", Sizes(), networks, {"knows": "rendered scenes", "training": training}).save(folder)
    assert ModelSet.load(folder).notes == (
        "tiny: trained on rendered scenes; for photos export the published weights "
        "(respin weights fetch, respin export)",
        "grounding_dino of this set is not trained: send a box",
        "edsr of this set is not trained: do not rely on its output",
    )


@pytest.mark.parametrize(
    "origin",
    [
        None,
        [],
        "from somewhere",
        {},
        {"knows": None, "training": None},
        {"knows": ["scenes"], "training": ["edsr"]},
        {"knows": "", "training": {"edsr": False, "another": {"trained": False}}},
        {"training": {"edsr": {"trained": "no"}}},
        {"training": {"edsr": {"steps": 7}}},
    ],
)
def test_an_origin_of_another_form_says_nothing(folder, origin):
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "origin": origin}))
    assert ModelSet.load(folder).notes == ()


def test_a_set_fixes_some_axes_and_leaves_others_free():
    sizes = Sizes(sam_side=512)
    assert sizes.shape(SAM_ENCODER.outputs[0].shape) == (256, 32, 32)
    assert sizes.shape(VAE_ENCODER.inputs[0].shape) == VAE_ENCODER.inputs[0].shape


def test_no_job_goes_beyond_a_sets_sizes_where_an_axis_is_free_nor_beyond_the_contract():
    (_, height, _), (_, latent_height, _) = VAE_ENCODER.inputs[0].shape, VAE_ENCODER.outputs[0].shape
    assert [Sizes(view_side=128, inpaint_side=side).longest(height) for side in (64, 512, 700, 2000)] == [
        128,
        512,
        704,
        768,
    ]
    assert Sizes(inpaint_side=700).longest(latent_height) == 88
    assert Sizes().longest(CLIP_TEXT.batch) == CLIP_TEXT.batch.largest
