"""Files that are readable but not what they should be: one sentence says what was expected and what differs first."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
from reference_files import REFERENCE, hollow

from respin.errors import InvalidInput
from respin_export.checkpoints import find_checkpoint, load_network, load_sizes

NAMES = {
    "grounding_dino": "groundingdino_swint_ogc.pth",
    "sam": "sam_vit_l_0b3195.pth",
    "zero123": "zero123-xl.ckpt",
    "edsr": "edsr_x4-4f62e9ef.pt",
    "inpaint": "sd-v1-5-inpainting.ckpt",
}
REFERENCES = {"grounding_dino": "groundingdino", "sam": "sam", "zero123": "zero123", "edsr": "edsr"}


@pytest.fixture
def put(tmp_path):
    """(checkpoint, tensors) -> a weights folder with them under the published name."""

    def write(checkpoint, state):
        folder = tmp_path / checkpoint
        folder.mkdir(exist_ok=True)
        torch.save({"state_dict": state}, folder / NAMES[checkpoint])
        if checkpoint in REFERENCES:
            shutil.copy(REFERENCE / REFERENCES[checkpoint] / "reduced" / "config.json", folder)
        return tmp_path

    return write


def refusal(network, weights, **options):
    with pytest.raises(InvalidInput) as refused:
        load_network(network, weights, **options)
    message = str(refused.value)
    assert "\n" not in message
    assert ". " not in message, "more than one sentence"
    return message


@pytest.mark.parametrize(
    ("network", "checkpoint", "others"),
    [
        ("grounding_dino", "grounding_dino", "sam/reduced"),
        ("sam_encoder", "sam", "edsr/reduced"),
        ("sam_decoder", "sam", "groundingdino/reduced"),
        ("zero123_unet", "zero123", "sam/reduced"),
        ("clip_vision", "zero123", "edsr/reduced"),
        ("vae_decoder", "zero123", "edsr/reduced"),
        ("edsr", "edsr", "sam/reduced"),
        ("inpaint_unet", "inpaint", "edsr/reduced"),
        ("clip_text", "inpaint", "zero123/reduced"),
    ],
)
def test_anothers_checkpoint_is_refused(put, network, checkpoint, others):
    state = hollow(others)
    message = refusal(network, put(checkpoint, state))
    assert message.startswith(f"{NAMES[checkpoint]} is not a")
    assert f"({NAMES[checkpoint]}" in message
    assert "missing" in message or "no key begins with" in message
    assert next(iter(state)).removeprefix("module.") in message, "the first key there is"


WHOLE = [
    ("grounding_dino", "grounding_dino", "module.transformer.decoder.layers.1.ca_text.in_proj_weight"),
    ("sam_encoder", "sam", "image_encoder.blocks.2.mlp.lin2.weight"),
    ("sam_decoder", "sam", "mask_decoder.iou_prediction_head.layers.1.weight"),
    ("zero123_unet", "zero123", "model_ema.diffusion_modelmiddle_block1proj_inweight"),
    ("clip_vision", "zero123", "cond_stage_model.model.visual.ln_post.weight"),
    ("clip_vision", "zero123", "cc_projection.weight"),
    ("vae_encoder", "zero123", "first_stage_model.quant_conv.weight"),
    ("edsr", "edsr", "body.2.body.0.weight"),
]


@pytest.mark.parametrize(("network", "checkpoint", "key"), WHOLE)
def test_a_missing_tensor_is_named(put, network, checkpoint, key):
    state = hollow(f"{REFERENCES[checkpoint]}/reduced")
    del state[key]
    assert "missing" in refusal(network, put(checkpoint, state))


@pytest.mark.parametrize(("network", "checkpoint", "key"), WHOLE)
def test_a_tensor_of_another_shape_is_named_with_both(put, network, checkpoint, key):
    state = hollow(f"{REFERENCES[checkpoint]}/reduced")
    # One row more than what the sizes are read from lets it have.
    state[key] = torch.cat([state[key], state[key][:3]])
    message = refusal(network, put(checkpoint, state))
    assert re.search(r"'[\w.]+' is [\dx]+, expected [\dx]+", message)


@pytest.mark.parametrize(
    ("network", "checkpoint", "key"),
    [
        ("grounding_dino", "grounding_dino", "module.transformer.extra.weight"),
        ("sam_encoder", "sam", "mask_decoder.hf_token.weight"),
        ("clip_vision", "zero123", "cond_stage_model.model.visual.extra.weight"),
        ("vae_encoder", "zero123", "first_stage_model.encoder.extra.weight"),
        ("edsr", "edsr", "tail.2.weight"),
    ],
)
def test_a_tensor_too_many_is_named(put, network, checkpoint, key):
    state = hollow(f"{REFERENCES[checkpoint]}/reduced") | {key: torch.zeros(2)}
    message = refusal(network, put(checkpoint, state))
    assert re.search(r": unknown '[\w.]+'$", message)
    assert ".".join(key.split(".")[-2:]) in message


def test_a_unet_with_a_class_embedding_is_another_model(put):
    state = hollow("zero123/reduced") | {"model.diffusion_model.label_emb.0.0.weight": torch.zeros(2, 2)}
    message = refusal("zero123_unet", put("zero123", state), raw_weights=True)
    assert ": unknown 'label_emb.0.0.weight'" in message


def test_half_a_moving_average_is_refused(put):
    state = hollow("zero123/reduced")
    averaged = [key for key in state if key.startswith("model_ema.diffusion_model")]
    weights = put("zero123", {key: each for key, each in state.items() if key not in averaged[100:]})
    message = refusal("zero123_unet", weights)
    assert ": missing 'model_ema." in message
    assert message.endswith(f" and {len(averaged) - 103} more")
    load_network("zero123_unet", weights, raw_weights=True)


@pytest.mark.parametrize(
    ("network", "checkpoint", "channels", "wanted"),
    [("zero123_unet", "zero123", 4, 8), ("inpaint_unet", "inpaint", 4, 9)],
)
def test_stable_diffusions_plain_unet_is_refused(put, network, checkpoint, channels, wanted):
    state = {key: each for key, each in hollow("zero123/reduced").items() if key.startswith("model.")}
    first = "model.diffusion_model.input_blocks.0.0.weight"
    state[first] = state[first][:, :channels]
    message = refusal(network, put(checkpoint, state))
    assert f"takes {channels} channels, expected {wanted}" in message


def test_the_unet_of_another_folder_is_refused(tmp_path, weights):
    load_network("zero123_unet", weights).unet.save_pretrained(tmp_path / "inpaint" / "unet")
    (tmp_path / "inpaint" / "model_index.json").write_text("{}")
    assert "says in_channels 8, expected 9" in refusal("inpaint_unet", tmp_path)


def test_a_folder_whose_weights_do_not_fit_its_config_is_refused(tmp_path, weights):
    unet = load_network("zero123_unet", weights).unet
    unet.save_pretrained(tmp_path / "zero123" / "unet")
    (tmp_path / "zero123" / "model_index.json").write_text("{}")
    file = tmp_path / "zero123" / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"layers_per_block": 1}))
    assert re.search(r": unknown '.* and \d+ more", refusal("zero123_unet", tmp_path))


def test_a_folder_without_weights_or_config_is_refused(tmp_path):
    (tmp_path / "inpaint" / "unet").mkdir(parents=True)
    (tmp_path / "inpaint" / "model_index.json").write_text("{}")
    assert "config.json cannot be read" in refusal("inpaint_unet", tmp_path)
    (tmp_path / "inpaint" / "unet" / "config.json").write_text('{"in_channels": 9}')
    message = refusal("inpaint_unet", tmp_path)
    assert "holds no weights: expected one of diffusion_pytorch_model.safetensors" in message


def test_a_folder_has_raw_weights_only_as_a_variant(tmp_path, weights):
    load_network("zero123_unet", weights).unet.save_pretrained(tmp_path / "zero123" / "unet")
    (tmp_path / "zero123" / "model_index.json").write_text("{}")
    message = refusal("zero123_unet", tmp_path, raw_weights=True)
    assert "expected one of diffusion_pytorch_model.non_ema.safetensors" in message


def test_edsr_for_another_scale_is_refused(put):
    state = hollow("edsr/reduced")
    twice = {key: each for key, each in state.items() if not key.startswith("tail.0.2.")}
    assert ": missing 'tail.0.2.weight', 'tail.0.2.bias'" in refusal("edsr", put("edsr", twice))


@pytest.mark.parametrize(
    ("network", "checkpoint", "name"),
    [
        ("edsr", "edsr", "res_scale"),
        ("sam_decoder", "sam", "dec_heads"),
        ("grounding_dino", "grounding_dino", "bert.num_attention_heads"),
    ],
)
def test_of_other_sizes_than_the_published_what_shapes_do_not_tell_must_be_said(put, network, checkpoint, name):
    weights = put(checkpoint, hollow(f"{REFERENCES[checkpoint]}/reduced"))
    (weights / checkpoint / "config.json").unlink()
    assert f"a config.json beside it must say '{name}'" in refusal(network, weights)
    (weights / checkpoint / "config.json").write_text('{"bert": 3}')
    assert f"must say '{name}'" in refusal(network, weights)


def test_a_network_that_cannot_be_built_is_refused(put):
    weights = put("grounding_dino", hollow("groundingdino/reduced"))
    (weights / "grounding_dino" / "config.json").write_text('{"bert": {"num_attention_heads": 7}}')
    assert "no such network can be built (The hidden size (64) is not a multiple" in refusal("grounding_dino", weights)


@pytest.mark.parametrize("heads", ["eight", -4, 0, [8], 8.5, True], ids=str)
def test_a_number_of_the_config_that_builds_no_network_is_refused(put, heads):
    weights = put("sam", hollow("sam/reduced"))
    (weights / "sam" / "config.json").write_text(json.dumps({"dec_heads": heads}))
    assert "the config.json beside it says dec_heads" in refusal("sam_decoder", weights)


def test_a_module_with_a_number_of_millions_is_refused(put):
    state = hollow("edsr/reduced") | {"body.999999999.weight": torch.zeros(2)}
    assert "'body.999999999' is one of more modules than the file has tensors" in refusal("edsr", put("edsr", state))


def test_a_tensor_that_sizes_are_read_from_must_have_its_axes(put):
    state = hollow("sam/reduced")
    state["image_encoder.pos_embed"] = state["image_encoder.pos_embed"][0]
    message = refusal("sam_encoder", put("sam", state))
    assert "'image_encoder.pos_embed' is 16x16x64, expected 4 axes" in message


def test_a_missing_checkpoint_is_reported_with_the_command_that_fetches_it(tmp_path):
    with pytest.raises(InvalidInput, match=r"expected sam_vit_l_0b3195.pth; get it with `respin weights fetch sam`"):
        find_checkpoint("sam", tmp_path)


def test_of_several_files_none_is_guessed(tmp_path):
    (tmp_path / "sam").mkdir()
    for name in ("a.pth", "b.pth"):
        (tmp_path / "sam" / name).touch()
    with pytest.raises(InvalidInput, match=r"several checkpoints \(a.pth, b.pth\)"):
        find_checkpoint("sam", tmp_path)
    (tmp_path / "sam" / NAMES["sam"]).touch()
    assert find_checkpoint("sam", tmp_path).name == NAMES["sam"]


def test_sizes_that_are_none_are_refused(tmp_path):
    (tmp_path / "sizes.json").write_text('{"sam_size": 3}')
    with pytest.raises(InvalidInput, match="does not hold the sizes of a model set"):
        load_sizes(tmp_path)
