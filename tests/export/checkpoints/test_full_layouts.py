"""The published files' own keys and shapes, without their numbers: every key has a place and every place a key."""

from __future__ import annotations

import re

import pytest
import torch
from reference_files import STORED, hollow
from transformers import CLIPTextConfig, CLIPTextModel

from respin_export.checkpoints import latent_diffusion, load_network, zero123

PUBLISHED_VALUES = {
    "grounding_dino": 172.2e6,
    "sam_encoder": 308.3e6,
    "sam_decoder": 4.06e6,
    "clip_vision": 303.97e6 + 0.59e6,
    "zero123_unet": 859.53e6,
    "vae_encoder": 34.16e6,
    "vae_decoder": 49.49e6,
    "edsr": 43.09e6,
    "clip_text": 123.06e6,
    "inpaint_unet": 859.54e6,
}
"""Parameters of each full network, to 1 %."""

ZERO123_LEFTOVERS = re.compile(
    r"(betas|posterior_.*|.*alphas_cumprod|alphas_cumprod_prev"
    r"|cond_stage_model\.model\.(positional_embedding|text_projection|logit_scale|token_embedding.*|ln_final.*))"
)
"""The noise schedule's buffers, and what is left of CLIP's text tower."""


def single_file():
    """The keys of sd-v1-5-inpainting.ckpt: Zero123's UNet and VAE with one more channel, and CLIP's text tower."""
    first = "model.diffusion_model.input_blocks.0.0.weight"
    held = {
        key: tensor
        for key, tensor in hollow("zero123/full").items()
        if key.startswith(("model.", "first_stage_model."))
    }
    assert held[first].shape == (320, 8, 3, 3)
    with torch.device("meta"):
        text = CLIPTextModel(CLIPTextConfig(hidden_size=768, num_hidden_layers=12, intermediate_size=3072))
    names = {f"cond_stage_model.transformer.text_model.{name}": each for name, each in text.state_dict().items()}
    held |= {name: STORED.expand(tensor.shape) for name, tensor in names.items()}
    held["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return held | {first: STORED.expand(320, 9, 3, 3)}


@pytest.fixture(scope="module")
def full_weights(tmp_path_factory):
    """Files of the published keys and shapes, of a few hundred kilobytes each."""
    weights = tmp_path_factory.mktemp("full")
    for folder, name, state in (
        ("grounding_dino", "groundingdino_swint_ogc.pth", {"model": hollow("groundingdino/full")}),
        ("sam", "sam_vit_l_0b3195.pth", hollow("sam/full")),
        ("zero123", "zero123-xl.ckpt", {"state_dict": hollow("zero123/full")}),
        ("edsr", "edsr_x4-4f62e9ef.pt", hollow("edsr/full")),
        ("inpaint", "sd-v1-5-inpainting.ckpt", {"state_dict": single_file()}),
    ):
        (weights / folder).mkdir()
        torch.save(state, weights / folder / name)
    return weights


@pytest.mark.parametrize("network", PUBLISHED_VALUES)
def test_every_parameter_of_a_full_network_is_filled(full_weights, network):
    module = load_network(network, full_weights)
    values = sum(parameter.numel() for parameter in module.parameters())
    assert values == pytest.approx(PUBLISHED_VALUES[network], rel=0.01)
    firsts = {name: parameter[(0,) * parameter.ndim] for name, parameter in module.named_parameters()}
    unfilled = [name for name, first in firsts.items() if first != STORED]
    # Swin's last norm, which the detector does not use.
    assert [name for name in unfilled if ".swin.layernorm." not in name] == []


def test_the_full_networks_have_the_published_sizes(full_weights):
    sam = load_network("sam_encoder", full_weights).encoder.config
    assert (sam.hidden_size, sam.num_attention_heads, sam.window_size) == (1024, 16, 14)
    assert sam.global_attn_indexes == [5, 11, 17, 23]
    detector = load_network("grounding_dino", full_weights).model.config
    assert (detector.num_queries, detector.encoder_layers, detector.encoder_attention_heads) == (900, 6, 8)
    assert (detector.backbone_config.depths, detector.backbone_config.num_heads) == ([2, 2, 6, 2], [3, 6, 12, 24])
    assert detector.text_config.num_attention_heads == 12
    clip = load_network("clip_vision", full_weights).model.config
    assert (clip.num_attention_heads, clip.image_size, clip.patch_size) == (16, 224, 14)
    edsr = load_network("edsr", full_weights)
    assert (len(edsr.body), edsr.body[0].residual_scale) == (33, 0.1)


def test_every_key_of_zero123_has_a_place_or_is_known_to_have_none():
    used = (latent_diffusion.UNET, latent_diffusion.AVERAGED, latent_diffusion.VAE, zero123.CLIP, zero123.CC_PROJECTION)
    rest = [key for key in hollow("zero123/full") if not key.startswith(used)]
    assert [key for key in rest if not ZERO123_LEFTOVERS.fullmatch(key)] == []
    assert len(rest) == 12 + 6


def test_the_moving_average_has_a_key_for_every_parameter():
    state = hollow("zero123/full")
    names = [key.removeprefix("model.").replace(".", "") for key in state if key.startswith(latent_diffusion.UNET)]
    averaged = {key.removeprefix("model_ema.") for key in state if key.startswith("model_ema.")}
    assert averaged - set(names) == {"decay", "num_updates"}
    assert set(names) <= averaged
