"""The modules round the published classes: what they add, and that they add nothing else."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL
from random_networks import build
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.grounding_dino.modeling_grounding_dino import (
    generate_masks_with_special_tokens_and_transfer_map,
)

from respin.contracts import NETWORKS
from respin_export.example import example_inputs
from respin_export.mini.sizes import SIZES
from respin_export.networks.edsr import Edsr, FoldedTail
from respin_export.networks.folding import OneTokenAttention, fold
from respin_export.networks.grounding_dino import inverse_sigmoid
from respin_export.networks.sam import PositionsInKeys, move_positions_into_keys
from respin_export.networks.unet import InpaintUNet, Zero123UNet
from respin_export.networks.vae import VaeDecoder, VaeEncoder


class StubUNet(nn.Module):
    """Predicts something that every input of its sample has a part in, and keeps what it was given."""

    def forward(self, sample, timestep, context, return_dict):
        self.given = sample, timestep, context
        weight = timestep / 1000 + context.mean(dim=(1, 2))
        return (sample[:, :4] + sample[:, 4:].mean(dim=1, keepdim=True) + weight[:, None, None, None],)


def tensors(name, batch=2, **lengths):
    arrays = example_inputs(NETWORKS[name], SIZES, batch=batch, lengths=lengths)
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def test_guidance_of_one_is_the_conditional_prediction_of_zero123():
    inputs = tensors("zero123_unet") | {"guidance": torch.ones(2, 1)}
    conditional = StubUNet()(
        torch.cat([inputs["latents"], inputs["image_latents"]], dim=1),
        inputs["timestep"][:, 0],
        inputs["context"],
        return_dict=False,
    )[0]
    torch.testing.assert_close(Zero123UNet(StubUNet())(**inputs), conditional)


def test_without_guidance_zero123_sees_neither_the_object_nor_the_camera():
    inputs = tensors("zero123_unet") | {"guidance": torch.zeros(2, 1)}
    noise = Zero123UNet(StubUNet())(**inputs)
    blind = inputs | {"context": torch.randn(2, 1, 768), "image_latents": torch.randn_like(inputs["image_latents"])}
    torch.testing.assert_close(Zero123UNet(StubUNet())(**blind), noise)
    weight = inputs["timestep"][:, 0, None, None, None] / 1000
    torch.testing.assert_close(noise, inputs["latents"] + weight)


def test_guidance_of_one_paints_by_the_prompt_and_of_zero_by_the_negative_prompt():
    inputs = tensors("inpaint_unet", latent_height=8, latent_width=16)
    swapped = inputs | {"contexts": inputs["contexts"].flip(1), "guidance": torch.ones(2, 1)}
    by_negative = InpaintUNet(StubUNet())(**inputs | {"guidance": torch.zeros(2, 1)})
    torch.testing.assert_close(InpaintUNet(StubUNet())(**swapped), by_negative)


def test_mask_and_masked_image_stand_in_both_halves_of_the_inpainting_batch():
    stub, inputs = StubUNet(), tensors("inpaint_unet", latent_height=8, latent_width=16)
    InpaintUNet(stub)(**inputs)
    sample, timestep, _ = stub.given
    assert sample.shape == (4, 9, 8, 16)
    torch.testing.assert_close(sample[:2], sample[2:])
    torch.testing.assert_close(sample[:2, 4:5], inputs["mask"])
    torch.testing.assert_close(timestep[:2], timestep[2:])


def test_each_sample_is_guided_by_its_own_scale():
    inputs = tensors("zero123_unet") | {"guidance": torch.tensor([[0.0], [3.0]])}
    both = Zero123UNet(StubUNet())(**inputs)
    for sample in (0, 1):
        alone = Zero123UNet(StubUNet())(**{name: tensor[sample : sample + 1] for name, tensor in inputs.items()})
        torch.testing.assert_close(both[sample : sample + 1], alone)


@torch.inference_mode()
def test_the_vae_halves_are_the_librarys_own():
    vae = AutoencoderKL().eval()
    image = torch.rand(1, 3, 64, 128) * 2 - 1
    mean, log_variance = VaeEncoder(vae)(image)
    posterior = vae.encode(image).latent_dist
    torch.testing.assert_close(mean, posterior.mean)
    torch.testing.assert_close(log_variance, posterior.logvar)
    torch.testing.assert_close(VaeDecoder(vae)(mean), vae.decode(mean).sample)


@torch.inference_mode()
def test_log_variance_is_clamped():
    vae = AutoencoderKL().eval()
    vae.quant_conv.bias[4:] = torch.tensor([-1e6, 1e6, 0, 0])
    _, log_variance = VaeEncoder(vae)(torch.rand(1, 3, 64, 64))
    assert (log_variance[:, 0] == -30).all()
    assert (log_variance[:, 1] == 20).all()


@torch.inference_mode()
def test_sams_four_masks_are_the_librarys_single_one_and_its_three_choices():
    decoder = build("sam_decoder").decoder
    embedding, box = torch.randn(2, 64, 16, 16), torch.tensor([[10.0, 20, 200, 180], [50, 5, 90, 250]])
    masks, predicted_iou = decoder(embedding, box)
    sparse, dense = decoder.prompts(None, None, box[:, None], None)
    for multimask, slots in ((False, slice(0, 1)), (True, slice(1, 4))):
        theirs, their_iou = decoder.decoder(
            embedding, decoder.positions.expand(2, -1, -1, -1), sparse, dense, multimask
        )
        torch.testing.assert_close(masks[:, slots], theirs[:, 0])
        torch.testing.assert_close(predicted_iou[:, slots], their_iou[:, 0])


def test_sams_layer_norms_have_the_published_epsilons():
    decoder, encoder = build("sam_decoder").decoder.decoder, build("sam_encoder")
    norms = [module for module in decoder.transformer.modules() if type(module) is nn.LayerNorm]
    assert len(norms) == 9
    assert {norm.eps for norm in norms} == {1e-5}
    others = [decoder.upscale_layer_norm, *(each for each in encoder.modules() if isinstance(each, nn.LayerNorm))]
    assert {norm.eps for norm in others} == {1e-6}


@torch.inference_mode()
def test_grounding_dino_reads_the_masks_it_is_given():
    module = build("grounding_dino")
    inputs = tensors("grounding_dino", batch=1, height=224, width=256)
    masks, positions = generate_masks_with_special_tokens_and_transfer_map(
        inputs["input_ids"], module.model.model.special_tokens
    )
    # The example's own masks are those that the library makes of the same ids, but for the position of padding.
    caption = inputs["attention_mask"][0]
    assert torch.equal(inputs["text_self_attention_mask"][0][caption][:, caption], masks[0][caption][:, caption])
    assert torch.equal(inputs["position_ids"][0][caption], positions[0][caption])
    logits, boxes = module(**inputs)
    blind_logits, _ = module(**inputs | {"text_self_attention_mask": torch.eye(256, dtype=torch.bool)[None]})
    assert not torch.equal(logits, blind_logits)
    assert boxes.shape == (1, 900, 4)


def test_the_box_logit_is_held_where_the_authors_hold_it():
    held = inverse_sigmoid(torch.tensor([0.0, 1e-4, 0.5, 1.0]), eps=1e-5)
    torch.testing.assert_close(held, torch.tensor([-6.9078, -6.9077, 0.0, 6.9078]), atol=1e-4, rtol=0)


def test_edsr_names_its_parameters_as_the_published_checkpoints_do():
    blocks = [f"body.{block}.body.{layer}" for block in range(16) for layer in (0, 2)]
    modules = ["sub_mean", "add_mean", "head.0", *blocks, "body.16", "tail.0.0", "tail.0.2", "tail.1"]
    names = [f"{module}.{kind}" for module in modules for kind in ("weight", "bias")]
    baseline = Edsr(blocks=16, features=64, residual_scale=1)
    assert list(baseline.state_dict()) == names
    # edsr_baseline_x4: 78 tensors, 1.52 million values.
    assert len(names) == 78
    assert sum(tensor.numel() for tensor in baseline.state_dict().values()) == pytest.approx(1.52e6, rel=0.01)


@torch.inference_mode()
def test_edsr_takes_the_mean_colour_away_and_puts_it_back():
    edsr = Edsr(blocks=1, features=4, residual_scale=1)
    edsr.tail[1].weight.zero_()
    edsr.tail[1].bias.zero_()
    mean = edsr(torch.rand(1, 3, 32, 40) * 255).mean(dim=(0, 2, 3))
    torch.testing.assert_close(mean, 255 * torch.tensor([0.4488, 0.4371, 0.4040]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("height", [3, 4, 7, 40])
@torch.inference_mode()
def test_edsr_with_its_tail_folded_makes_the_same_picture_up_to_the_border(height):
    torch.manual_seed(0)
    edsr, picture = Edsr(blocks=1, features=8, residual_scale=1).eval(), 255 * torch.rand(2, 3, height, 9)
    wanted = edsr(picture)
    assert isinstance(fold(edsr).tail, FoldedTail)
    torch.testing.assert_close(edsr(picture), wanted, atol=1e-3, rtol=0)
    # Without the tail itself at the border it would be another.
    tail, features = edsr.tail, torch.rand(1, 8, height, 9)
    assert not torch.allclose(nn.functional.pixel_shuffle(tail.inner(features), 4), tail(features), atol=1e-3)


def test_a_folded_tail_spares_most_of_its_arithmetic_and_is_folded_once():
    edsr, counts = Edsr(blocks=1, features=64, residual_scale=1).eval(), []
    for _ in range(3):
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            edsr(torch.rand(1, 3, 64, 64))
        counts.append(counter.get_total_flops())
        fold(edsr)
    assert counts[1] < 0.5 * counts[0]
    assert counts[2] == counts[1]


@torch.inference_mode()
def test_zero123_predicts_the_same_noise_without_asking_its_only_token_anything():
    network, inputs = build("zero123_unet"), tensors("zero123_unet", batch=3)
    with FlopCounterMode(display=False) as before:
        wanted = network(**inputs)
    with FlopCounterMode(display=False) as after:
        got = fold(network)(**inputs)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
    assert any(isinstance(part, OneTokenAttention) for part in network.modules())
    assert after.get_total_flops() < before.get_total_flops()
    assert not torch.allclose(network(**inputs | {"context": torch.randn(3, 1, 768)}), wanted, atol=1e-3)


def test_a_prompt_of_many_tokens_is_attended_to_as_before():
    network = fold(build("inpaint_unet"))
    assert not any(isinstance(part, OneTokenAttention) for part in network.modules())


@torch.inference_mode()
def test_sam_with_positions_in_its_keys_sees_the_same_where_it_looks_at_the_whole_image():
    encoder, inputs = build("sam_encoder"), tensors("sam_encoder")
    wanted = encoder(**inputs)
    move_positions_into_keys(encoder)
    layers = encoder.coarse.encoder.layers
    assert [isinstance(layer.attn, PositionsInKeys) for layer in layers] == [True, False, True]
    torch.testing.assert_close(encoder(**inputs), wanted, atol=1e-4, rtol=1e-4)
    layers[0].attn.attention.rel_pos_w.zero_()
    assert not torch.allclose(encoder(**inputs), wanted, atol=1e-3)


@pytest.mark.parametrize("name", ["clip_text", "grounding_dino"])
def test_weights_of_one_seed_are_the_same_and_of_another_not(name):
    first, again, other = (list(build(name, seed=seed).parameters()) for seed in (1, 1, 2))
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))
