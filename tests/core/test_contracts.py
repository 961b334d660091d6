"""The registry, and what is derived from it."""

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from respin import pbtxt
from respin.contracts import JOBS, MODELS, NETWORKS
from respin.contracts.networks import EDSR, SAM_DECODER, SAM_ENCODER, VAE_DECODER
from respin.errors import ContractMismatch
from respin.profiles import PROFILES
from respin.specs import Axis

REPOSITORY = Path(__file__).parents[2] / "model_repository"


def test_there_are_ten_networks_and_three_jobs():
    assert len(NETWORKS) == 10
    assert len(JOBS) == 3


def test_every_model_folder_has_a_contract_and_every_contract_a_folder():
    assert {path.name for path in REPOSITORY.iterdir() if path.is_dir()} == set(MODELS)


@pytest.mark.parametrize("path", [path for path, _ in pbtxt.config_files()], ids=str)
def test_the_committed_config_is_the_rendered_one(path):
    assert (REPOSITORY / path).read_text() == dict(pbtxt.config_files())[path]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.name)
def test_tritons_own_parser_reads_back_what_the_contract_says(spec, profile):
    if not pbtxt.serves(profile, spec):
        assert (REPOSITORY / pbtxt.config_path(spec, profile)).exists() is False
        return
    config = text_format.Parse(pbtxt.render(spec, profile), model_config_pb2.ModelConfig())
    assert (config.name, config.max_batch_size) == (spec.name, spec.max_batch_size)
    assert config.model_transaction_policy.decoupled == spec.decoupled
    for side, tensors in ((config.input, spec.inputs), (config.output, spec.outputs)):
        read = [(each.name, model_config_pb2.DataType.Name(each.data_type), tuple(each.dims)) for each in side]
        assert read == [(tensor.name, tensor.dtype.pbtxt, tensor.dims) for tensor in tensors]
    assert [each.optional for each in config.input] == [tensor.optional for tensor in spec.inputs]


def test_the_check_passes_on_the_committed_files_and_names_a_stale_one(tmp_path, capsys):
    assert pbtxt.main(["--repository", str(tmp_path)]) == 0
    assert pbtxt.main(["--check", "--repository", str(tmp_path)]) == 0
    (tmp_path / "edsr/config.pbtxt").write_text("name: 'other'")
    (tmp_path / "edsr/configs/unknown.pbtxt").write_text("")
    assert pbtxt.main(["--check", "--repository", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "edsr/config.pbtxt" in told
    assert "edsr/configs/unknown.pbtxt" in told
    assert pbtxt.main(["--repository", str(tmp_path)]) == 0
    assert pbtxt.stale_files(tmp_path) == []


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("*/1/model.py")), ids=lambda path: path.parts[-3])
def test_a_model_file_is_a_contract_and_a_class(path):
    assert len(path.read_text().splitlines()) <= 25


def test_a_call_that_keeps_to_the_contract_passes():
    EDSR.check_inputs({"image": np.zeros((2, 3, 64, 96), np.float32)})


@pytest.mark.parametrize(
    ("spec", "arrays", "told"),
    [
        (EDSR, {"image": np.zeros((1, 3, 64, 64))}, "dtype float64, wanted float32"),
        (EDSR, {"image": np.zeros((1, 4, 64, 64), np.float32)}, r"shape \(4, 64, 64\)"),
        (EDSR, {"image": np.zeros((1, 3, 64, 4096), np.float32)}, r"width 32\.\.512"),
        (VAE_DECODER, {"latents": np.zeros((1, 4, 12, 16), np.float32)}, r"latent_height 8\.\.96 by 8"),
        (SAM_ENCODER, {}, r"\['image'\] is missing"),
        (SAM_ENCODER, {"photo": np.zeros(1)}, r"unknown input \['photo'\]"),
    ],
    ids=["dtype", "channels", "too large", "no multiple", "missing", "unknown"],
)
def test_a_call_that_breaks_the_contract_is_refused_by_name(spec, arrays, told):
    with pytest.raises(ContractMismatch, match=told):
        spec.check_inputs(arrays)


def test_coarser_axes_follow_the_axis_they_come_from():
    grid = SAM_DECODER.inputs[0].shape[1]
    assert isinstance(grid, Axis)
    assert (grid.smallest, grid.usual, grid.largest, grid.ratio, grid.set_size) == (16, 64, 64, 16, "sam_side")


def test_an_axis_out_of_order_is_refused():
    with pytest.raises(ContractMismatch, match="rising order"):
        Axis("height", 4, 2, 8)


def test_every_tensor_says_what_it_means():
    silent = [
        f"{spec.name}.{tensor.name}"
        for spec in MODELS.values()
        for tensor in (*spec.inputs, *spec.outputs)
        if len(tensor.meaning) < 10
    ]
    assert silent == []
