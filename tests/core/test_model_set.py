"""Sets of weights and their manifests."""

import json

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
    networks = {name: records["edsr"] for name in ("grounding_dino", "edsr", "clip_text")}
    training = {"grounding_dino": {"trained": False}, "edsr": {"trained": False}, "clip_text": {"trained": True}}
    ModelSet("tiny", "fp32", Sizes(), networks, {"knows": "rendered scenes", "training": training}).save(folder)
    assert ModelSet.load(folder).notes == (
        "tiny: trained on rendered scenes; for photos export the published weights "
        "(respin weights fetch, respin export)",
        "grounding_dino of this set is not trained: send a box",
        "edsr of this set is not trained: its output means nothing",
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
