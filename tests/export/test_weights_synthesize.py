"""Random checkpoints in the layouts of the published ones."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from rich.progress import Progress
from transformers import CLIPTextModel, GroundingDinoForObjectDetection

from respin.errors import InvalidInput
from respin_export.checkpoints import CHECKPOINT_OF, load_network, load_sizes
from respin_export.weights.catalogue import CATALOGUE, choose
from respin_export.weights.layouts import checkpoint_layout, optimizer_state
from respin_export.weights.synthesize import MINI_SIZES, Synthesizer, save_mapped

REFERENCE = Path(__file__).parents[1] / "reference"


def synthesize(folder, *names, size="mini", seed=0, **options):
    with Progress(disable=True) as progress:
        return Synthesizer(folder, size, seed, progress, **options).write([choose(name) for name in names])


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    synthesize(folder := tmp_path_factory.mktemp("mini"), *CATALOGUE)
    return folder


@pytest.mark.parametrize("network", CHECKPOINT_OF)
def test_a_mini_checkpoint_loads_like_a_published_one(mini, network):
    module = load_network(network, mini)
    assert all(torch.isfinite(parameter).all() for parameter in module.parameters())
    assert sum(parameter.numel() for parameter in module.parameters()) > 10_000


def test_mini_weights_say_what_they_fix(mini):
    assert load_sizes(mini) == MINI_SIZES


def test_activations_stay_finite(mini):
    unet = load_network("zero123_unet", mini)
    noise = torch.randn(1, 4, 32, 32)
    guided = unet(noise, torch.tensor([[501]]), torch.randn(1, 1, 768), noise, torch.tensor([[3.0]]))
    assert 0.01 < guided.std() < 100


@pytest.mark.parametrize(
    ("file", "wrap", "reference"),
    [
        ("zero123/zero123-xl.ckpt", "state_dict", "zero123/reduced"),
        ("grounding_dino/groundingdino_swint_ogc.pth", "model", "groundingdino/reduced"),
    ],
)
def test_the_keys_are_upstreams(mini, file, wrap, reference):
    written = torch.load(mini / file, weights_only=True, mmap=True)[wrap]
    assert list(written) == list(json.loads((REFERENCE / reference / "layout.json").read_text()))


def test_zero123_has_an_ema_that_differs_from_the_raw_weights(mini):
    state = torch.load(mini / "zero123/zero123-xl.ckpt", weights_only=True, mmap=True)["state_dict"]
    raw, ema = state["model.diffusion_model.out.2.weight"], state["model_ema.diffusion_modelout2weight"]
    assert raw.shape == ema.shape
    assert not torch.equal(raw, ema)


def test_one_module_under_several_names_is_stored_once(mini):
    state = torch.load(mini / "grounding_dino/groundingdino_swint_ogc.pth", weights_only=True)["model"]
    first, second = (state[f"module.bbox_embed.{layer}.layers.0.weight"] for layer in (0, 1))
    assert first.data_ptr() == second.data_ptr()


def test_a_file_reads_the_same_mapped_and_in_memory(mini):
    path = mini / "sam/sam_vit_l_0b3195.pth"
    mapped, read = (torch.load(path, weights_only=True, mmap=mmap) for mmap in (True, False))
    assert mapped.keys() == read.keys()
    assert all(torch.equal(mapped[key], read[key]) for key in read)


def test_edsr_is_in_the_form_of_its_time(mini):
    path = mini / "edsr/edsr_x4-4f62e9ef.pt"
    assert not zipfile.is_zipfile(path)
    assert "tail.0.2.weight" in torch.load(path, weights_only=True)


def test_the_pipeline_folder_is_what_diffusers_reads(mini):
    unet = UNet2DConditionModel.from_pretrained(mini / "inpaint/unet", use_safetensors=False)
    _vae, unused = AutoencoderKL.from_pretrained(mini / "inpaint/vae", use_safetensors=False, output_loading_info=True)
    assert unet.config.in_channels == 9
    assert unused["missing_keys"] == unused["unexpected_keys"] == []
    assert CLIPTextModel.from_pretrained(mini / "inpaint/text_encoder").config.hidden_size == 768


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """The forms that are not the first ones."""
    folder = tmp_path_factory.mktemp("others")
    synthesize(folder, "grounding_dino:transformers", "edsr:baseline", "inpaint:fp16")
    return folder


def test_the_float16_folder_is_what_diffusers_reads(others):
    unet = UNet2DConditionModel.from_pretrained(
        others / "inpaint/unet", variant="fp16", use_safetensors=True, torch_dtype=torch.float16
    )
    assert {parameter.dtype for parameter in unet.parameters()} == {torch.float16}


def test_the_transformers_folder_is_what_transformers_reads(others):
    model, info = GroundingDinoForObjectDetection.from_pretrained(others / "grounding_dino", output_loading_info=True)
    assert model.config.num_queries == 900
    assert not info["mismatched_keys"]
    # What nothing uses is missing from the published file as well.
    assert {key.rpartition(".")[0] for key in info["missing_keys"]} <= {
        "model.backbone.conv_encoder.model.swin.layernorm"
    }


def test_the_seed_makes_the_weights(others, tmp_path):
    paths = [others / "edsr/edsr_baseline_x4-6b446fab.pt"]
    paths += synthesize(tmp_path / "0", "edsr:baseline") + synthesize(tmp_path / "1", "edsr:baseline", seed=1)
    first, again, different = (torch.load(path, weights_only=True)["head.0.weight"] for path in paths)
    assert torch.equal(first, again)
    assert not torch.equal(first, different)


def test_an_optimizer_state_is_written_as_torch_reads_it(tmp_path):
    (state,) = checkpoint_layout("zero123:original", "mini").files.values()
    save_mapped(tmp_path / "file", [optimizer_state(state)], lambda name, tensor: torch.ones(tensor.shape))
    (adam,) = torch.load(tmp_path / "file", weights_only=True, mmap=True)
    assert len(adam["state"]) == 688
    assert adam["state"][0]["exp_avg"].shape == adam["state"][0]["exp_avg_sq"].shape == (128, 32)


@pytest.mark.parametrize(("optimizer_state", "needed"), [(False, "8.6"), (True, "15.5")])
def test_zero123_has_the_published_size_where_the_optimizer_state_is_asked_for(tmp_path, optimizer_state, needed):
    with pytest.raises(InvalidInput, match=f"^the weights need {needed} GB"):
        synthesize(tmp_path / "new", "zero123", size="full", optimizer_state=optimizer_state, free=lambda _: 0)


@pytest.mark.parametrize("name", ["grounding_dino", "grounding_dino:transformers", "sam", "inpaint:ckpt"])
def test_the_full_layouts_have_the_published_sizes(name):
    """The rest, up to 0.06 %, is names and what the format puts around the values."""
    published = choose(name)
    for path, state in checkpoint_layout(published.name, "full").files.items():
        ours = sum(tensor.nbytes for tensor in {id(tensor): tensor for tensor in state.values()}.values())
        (size_bytes,) = (file.size_bytes for file in published.variant.files if file.path == path)
        assert ours == pytest.approx(size_bytes, rel=6e-4)


def test_every_published_file_of_weights_has_a_layout():
    for checkpoint in CATALOGUE.values():
        for variant in checkpoint.variants:
            layout = checkpoint_layout(f"{checkpoint.name}:{variant.name}", "full")
            assert set(layout.files) == {file.path for file in variant.files if file.is_weights}


def test_any_tensor_comes_back_from_a_mapped_file(tmp_path):
    with torch.device("meta"):
        matrix = torch.empty(2, 3)
        nested = [matrix, {"scalar": torch.empty((), dtype=torch.int32)}, torch.empty(4, dtype=torch.float16), matrix]
    save_mapped(tmp_path / "file", {"nested": nested}, counted)
    first, scalar, half, again = torch.load(tmp_path / "file", weights_only=True)["nested"]
    assert first.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (scalar["scalar"].dtype, scalar["scalar"].shape) == (torch.int32, ())
    assert (half.dtype, half.tolist()) == (torch.float16, [0, 1, 2, 3])
    assert again.data_ptr() == first.data_ptr()


def counted(_name, tensor):
    """0, 1, 2, ... in the tensor's shape and dtype."""
    return torch.arange(tensor.numel()).reshape(tensor.shape).to(tensor.dtype)


def test_a_folder_of_real_weights_is_left_alone(tmp_path):
    (tmp_path / "sam").mkdir()
    with pytest.raises(InvalidInput, match="holds files that this command did not make"):
        synthesize(tmp_path, "edsr")


def test_a_folder_of_the_other_size_is_left_alone(others):
    with pytest.raises(InvalidInput, match="holds weights of size mini; name another folder for full"):
        synthesize(others, "edsr", size="full")


def test_two_variants_of_one_checkpoint_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="edsr is named twice"):
        synthesize(tmp_path / "new", "edsr", "edsr:baseline")


def test_room_is_looked_at_first(tmp_path):
    with pytest.raises(InvalidInput, match=r"need 1\.2 GB and '.*' has 1\.0 GB free"):
        synthesize(tmp_path / "new", "sam", size="full", free=lambda _: 10**9)
    assert not (tmp_path / "new").exists()
