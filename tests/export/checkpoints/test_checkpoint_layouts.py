"""The other layouts that the same weights are downloaded in: whichever it is, the network is the same."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest
import torch
from reference_files import REFERENCE, tensors
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from respin.model_set import Sizes
from respin_export.checkpoints import CHECKPOINT_OF, LAYOUTS, find_checkpoint, load_network, load_sizes
from respin_export.checkpoints.keys import rename
from respin_export.originals import fill


def assert_same_weights(ours, theirs, but=()):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        if name in but:
            continue
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=0, msg=name)


def torch_bin(folder, stem="diffusion_pytorch_model"):
    """Turn a component's .safetensors into the .bin of older folders, which held CLIP's position ids too."""
    (file,) = folder.glob("*.safetensors")
    state = load_file(file)
    for tower in ("text_model.", "vision_model."):
        if any(name.startswith(tower) for name in state):
            state[f"{tower}embeddings.position_ids"] = torch.arange(77)[None]
    torch.save(state, folder / f"{stem}.bin")
    file.unlink()


def fp16(folder, stem="diffusion_pytorch_model"):
    """Turn a component's .safetensors into the half-precision variant."""
    (file,) = folder.glob("*.safetensors")
    save_file({name: tensor.half() for name, tensor in load_file(file).items()}, folder / f"{stem}.fp16.safetensors")
    file.unlink()


@pytest.fixture(scope="module")
def inpaint_file(tmp_path_factory):
    """A weights folder with a reduced sd-v1-5-inpainting.ckpt, and the text tower that is in it."""
    folder = tmp_path_factory.mktemp("inpaint") / "inpaint"
    folder.mkdir()
    first = "model.diffusion_model.input_blocks.0.0.weight"
    state = {key: each for key, each in tensors("zero123/reduced").items() if key.startswith("model.")}
    state[first] = torch.from_numpy(fill.fill(first, (32, 9, 3, 3)))
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = CLIPTextConfig(vocab_size=300, bos_token_id=298, eos_token_id=299, hidden_act="quick_gelu", **sizes)
        text = CLIPTextModel(config).eval()
    state |= {f"cond_stage_model.transformer.text_model.{name}": each for name, each in text.state_dict().items()}
    state["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state["first_stage_model.encoder.conv_in.weight"] = torch.zeros(1)
    torch.save({"state_dict": state, "global_step": 440000}, folder / "sd-v1-5-inpainting.ckpt")
    return folder.parent, text


@pytest.fixture
def inpaint_folder(tmp_path, inpaint_file):
    """The same as a diffusers folder."""
    weights, text = inpaint_file
    folder = tmp_path / "inpaint"
    load_network("inpaint_unet", weights).unet.save_pretrained(folder / "unet")
    text.save_pretrained(folder / "text_encoder")
    names = load_file(folder / "text_encoder" / "model.safetensors")
    older = {f"text_model.{name.removeprefix('text_model.')}": each for name, each in names.items()}
    save_file(older, folder / "text_encoder" / "model.safetensors")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionInpaintPipeline"}))
    return folder


def test_the_single_inpainting_file_gives_the_text_tower_that_was_put_in(inpaint_file):
    weights, text = inpaint_file
    module = load_network("clip_text", weights)
    assert_same_weights(module.model, text)
    ids = torch.randint(0, 300, (2, 77))
    torch.testing.assert_close(module(input_ids=ids), text(input_ids=ids).last_hidden_state)


@pytest.mark.parametrize("form", [None, torch_bin], ids=["safetensors", "bin"])
def test_the_inpainting_folder_is_the_single_file(inpaint_file, inpaint_folder, form):
    weights, text = inpaint_file
    if form:
        form(inpaint_folder / "unet")
        form(inpaint_folder / "text_encoder", stem="pytorch_model")
    assert_same_weights(load_network("inpaint_unet", inpaint_folder.parent), load_network("inpaint_unet", weights))
    assert_same_weights(load_network("clip_text", inpaint_folder.parent).model, text)


def test_half_precision_variants_become_float32(inpaint_folder):
    exact = load_network("inpaint_unet", inpaint_folder.parent).state_dict()
    exact = {name: tensor.clone() for name, tensor in exact.items()}
    fp16(inpaint_folder / "unet")
    fp16(inpaint_folder / "text_encoder", stem="model")
    module = load_network("inpaint_unet", inpaint_folder.parent)
    for name, tensor in module.state_dict().items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, exact[name].half().float(), rtol=0, atol=0)
    assert {each.dtype for each in load_network("clip_text", inpaint_folder.parent).parameters()} == {torch.float32}


@pytest.fixture(scope="module")
def saved_zero123(tmp_path_factory, weights):
    """The reduced Zero123 as a diffusers folder."""
    folder = tmp_path_factory.mktemp("saved") / "zero123"
    load_network("zero123_unet", weights).unet.save_pretrained(folder / "unet")
    load_network("clip_vision", weights).model.save_pretrained(folder / "image_encoder")
    torch_bin(folder / "image_encoder", stem="pytorch_model")
    _vae(weights).save_pretrained(folder / "vae")
    (folder / "cc_projection").mkdir()
    projection = load_network("clip_vision", weights).cc_projection
    state = {f"projection.{name}": tensor for name, tensor in projection.state_dict().items()}
    torch.save(state, folder / "cc_projection" / "diffusion_pytorch_model.bin")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "Zero1to3StableDiffusionPipeline"}))
    return folder


@pytest.fixture
def zero123_folder(tmp_path, saved_zero123):
    """The same, for one test to change."""
    return shutil.copytree(saved_zero123, tmp_path / "zero123", copy_function=os.link)


def _vae(weights):
    from respin_export.checkpoints.latent_diffusion import load_vae

    return load_vae(find_checkpoint("zero123", weights), "it")


@pytest.mark.parametrize("network", ["zero123_unet", "clip_vision", "vae_encoder", "vae_decoder"])
def test_the_zero123_folder_is_the_lightning_file(weights, zero123_folder, network):
    assert_same_weights(load_network(network, zero123_folder.parent), load_network(network, weights))


def test_the_attention_of_an_old_vae_folder_is_found(weights, zero123_folder):
    file = zero123_folder / "vae" / "diffusion_pytorch_model.safetensors"
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(file)
    for new, old in older.items():
        state = {name.replace(f".{new}.", f".{old}."): tensor for name, tensor in state.items()}
    assert sum("proj_attn" in name for name in state) == 4
    torch.save(state, file.with_suffix(".bin"))
    file.unlink()
    assert_same_weights(load_network("vae_encoder", zero123_folder.parent), load_network("vae_encoder", weights))


def test_a_folders_raw_weights_are_its_non_ema_variant(weights, zero123_folder):
    unet = load_network("zero123_unet", weights, raw_weights=True).unet
    unet.save_pretrained(zero123_folder / "unet", variant="non_ema")
    assert (zero123_folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors").is_file()
    assert_same_weights(load_network("zero123_unet", zero123_folder.parent, raw_weights=True).unet, unet)
    averaged = load_network("zero123_unet", weights)
    assert_same_weights(load_network("zero123_unet", zero123_folder.parent), averaged)


def test_a_file_without_a_moving_average_gives_its_only_weights(tmp_path, weights):
    state = {key: each for key, each in tensors("zero123/reduced").items() if not key.startswith("model_ema.")}
    (tmp_path / "zero123").mkdir()
    torch.save({"state_dict": state}, tmp_path / "zero123" / "105000.ckpt")
    raw = load_network("zero123_unet", weights, raw_weights=True)
    assert_same_weights(load_network("zero123_unet", tmp_path), raw)


PUBLISHED_SWIN_NAMES = (
    (r"(conv_encoder\.model)\.swin\.", r"\1."),
    (r"(conv_encoder.*)\.attention\.([qkv])_proj\.", r"\1.attention.self.\2."),
    (r"(conv_encoder.*)\.self\.q\.", r"\1.self.query."),
    (r"(conv_encoder.*)\.self\.k\.", r"\1.self.key."),
    (r"(conv_encoder.*)\.self\.v\.", r"\1.self.value."),
    (r"(conv_encoder.*)\.attention\.o_proj\.", r"\1.attention.output.dense."),
    (r"(conv_encoder.*)\.attention\.relative_position_bias\.", r"\1.attention.self."),
    (r"(conv_encoder.*)\.mlp\.fc1\.", r"\1.intermediate.dense."),
    (r"(conv_encoder.*)\.mlp\.fc2\.", r"\1.output.dense."),
)
"""How transformers 4.40 named Swin's parameters, when grounding-dino-tiny was published."""


@pytest.fixture(params=["safetensors", "bin"])
def grounding_dino_folder(tmp_path, weights, request):
    """The reduced GroundingDINO as the files of grounding-dino-tiny: older names, shared heads once, old buffers."""
    folder = tmp_path / "grounding_dino"
    model = load_network("grounding_dino", weights).model
    model.config.save_pretrained(folder)
    state = {rename(name, PUBLISHED_SWIN_NAMES): each.clone() for name, each in model.state_dict().items()}
    state = {name: each for name, each in state.items() if ".model.layernorm." not in name}
    kept = {name: each for name, each in state.items() if not re.match(r"(model\.decoder\.)?bbox_embed\.[1-9]", name)}
    kept = {name: each for name, each in kept.items() if not name.startswith("model.decoder.bbox_embed.")}
    buffers = {name: torch.zeros(1) for name in kept if name.endswith("relative_position_bias_table")}
    kept |= {name.replace("bias_table", "index"): each for name, each in buffers.items()}
    assert "model.backbone.conv_encoder.model.encoder.layers.0.blocks.0.attention.self.query.weight" in kept
    if request.param == "bin":
        torch.save(kept | state, folder / "pytorch_model.bin")
    else:
        save_file(kept | {"model.text_backbone.embeddings.position_ids": torch.zeros(1)}, folder / "model.safetensors")
    return folder


def test_the_grounding_dino_folder_is_the_authors_file(weights, grounding_dino_folder):
    ours, theirs = (load_network("grounding_dino", folder) for folder in (grounding_dino_folder.parent, weights))
    # The detector leaves Swin's last norm unused, and the folder leaves it out.
    norms = [f"model.model.backbone.conv_encoder.model.swin.layernorm.{kind}" for kind in ("weight", "bias")]
    assert_same_weights(ours, theirs, but=norms)
    assert ours.model.config.text_config.num_attention_heads == 4


@pytest.mark.parametrize("prefix", ["", "model.", "model.module."])
def test_whatever_wraps_grounding_dinos_keys_is_taken_off(tmp_path, weights, prefix):
    state = {prefix + key.removeprefix("module."): each for key, each in tensors("groundingdino/reduced").items()}
    (tmp_path / "grounding_dino").mkdir()
    torch.save({"model": state}, tmp_path / "grounding_dino" / "groundingdino_swint_ogc.pth")
    shutil.copy(REFERENCE / "groundingdino" / "reduced" / "config.json", tmp_path / "grounding_dino")
    assert_same_weights(load_network("grounding_dino", tmp_path), load_network("grounding_dino", weights))


def test_sams_two_position_embeddings_are_one(weights):
    decoder = load_network("sam_decoder", weights)
    matrix = tensors("sam/reduced")["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    torch.testing.assert_close(decoder.prompts.shared_embedding.positional_embedding, matrix)


def test_modules_are_ready_for_inference(weights):
    module = load_network("edsr", weights)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_sizes_are_the_published_ones_unless_the_folder_says_others(tmp_path):
    assert load_sizes(tmp_path) == Sizes()
    (tmp_path / "sizes.json").write_text(json.dumps({"sam_side": 256}))
    assert load_sizes(tmp_path) == Sizes(sam_side=256)


def test_every_network_has_a_checkpoint_with_a_layout():
    from respin.contracts import NETWORKS

    assert CHECKPOINT_OF.keys() == NETWORKS.keys()
    assert set(CHECKPOINT_OF.values()) == LAYOUTS.keys()
