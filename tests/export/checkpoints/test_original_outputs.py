"""Reduced checkpoints in the authors' layouts: our modules compute what the authors' own code computed."""

from __future__ import annotations

import fill
import numpy as np
import pytest
import torch
from reference_files import REFERENCE, tensors

from respin_ensemble.sampling.ddim import ddim_step
from respin_ensemble.sampling.schedules import zero123_schedule
from respin_export.checkpoints import load_network

TOLERANCE = 2e-5
"""Share of the greatest magnitude; independent float32 code differs by 1e-6..3e-6."""

LATENT_SCALE = 0.18215


def assert_same(ours, theirs, tolerance=TOLERANCE):
    ours = ours.numpy() if isinstance(ours, torch.Tensor) else ours
    assert ours.shape == theirs.shape
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    # Not `not difference > tolerance`: that would let NaN through.
    assert difference <= tolerance, f"differs by {difference:.2e} of the greatest magnitude"


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def zero123(weights):
    """(network) -> its module, loaded once."""
    loaded = {}

    def load(network, **options):
        key = (network, *options.items())
        if key not in loaded:
            loaded[key] = load_network(network, weights, **options)
        return loaded[key]

    return load


def zero123_noise(name, *shape):
    return torch.from_numpy(fill.noise(f"zero123_{name}", shape))


def zero123_image():
    return torch.from_numpy(fill.image("zero123", 256, 256).astype(np.float32) / 255 * 2 - 1).permute(2, 0, 1)[None]


@pytest.mark.parametrize(("raw_weights", "output"), [(False, "unet_out_ema"), (True, "unet_out_raw")])
def test_zero123s_unet(zero123, reference, raw_weights, output):
    expected = reference("zero123/reduced")
    predicted = zero123("zero123_unet", raw_weights=raw_weights)(
        latents=zero123_noise("x", 2, 4, 32, 32),
        timestep=torch.from_numpy(expected["unet_t"]).float()[:, None],
        context=zero123_noise("context", 2, 1, 768),
        image_latents=zero123_noise("concat", 2, 4, 32, 32),
        guidance=torch.ones(2, 1),
    )
    assert_same(predicted, expected[output])


def test_zero123s_averaged_weights_are_not_its_raw_ones(reference):
    expected = reference("zero123/reduced")
    difference = np.abs(expected["unet_out_ema"] - expected["unet_out_raw"]).max()
    assert difference > np.abs(expected["unet_out_raw"]).max()


def test_clips_image_tower_and_the_projection_of_the_camera(zero123, reference):
    expected = reference("zero123/reduced")
    module = zero123("clip_vision")
    image = torch.nn.functional.interpolate(zero123_image(), (224, 224), mode="bicubic", align_corners=True)
    mean, std = torch.tensor([[0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]])[
        ..., None, None
    ]
    image = ((image + 1) / 2 - mean) / std
    assert_same(image[:, :, ::7, ::7], expected["clip_preprocessed"])
    assert_same(module.model(pixel_values=image).image_embeds[:, None], expected["clip_embed"])
    context = module(image=image, camera=torch.from_numpy(expected["pose_T"])[None])
    assert_same(context, expected["cc_projection_out"])


def test_the_vaes_encoder(zero123, reference):
    expected = reference("zero123/reduced")
    mean, log_variance = zero123("vae_encoder")(image=zero123_image())
    assert_same(mean, expected["vae_mode"])
    assert_same(torch.cat([mean, log_variance], dim=1), expected["vae_moments"])


def test_the_vaes_decoder(zero123, reference):
    latents = zero123_noise("z", 1, 4, 32, 32) * LATENT_SCALE * 3
    image = zero123("vae_decoder")(latents=latents / LATENT_SCALE)
    assert_same(image[:, :, ::2, ::2], reference("zero123/reduced")["vae_decode"])


@pytest.mark.parametrize("eta", [0, 1])
@pytest.mark.parametrize("kind", ["ema", "raw"])
def test_five_steps_of_the_authors_sampler(zero123, reference, kind, eta):
    expected = reference("zero123/reduced")
    schedule = zero123_schedule(5)
    assert list(schedule.timesteps) == sorted(expected["ddim5_timesteps"], reverse=True)
    unet = zero123("zero123_unet", raw_weights=kind == "raw")
    conditions = {
        "context": torch.from_numpy(expected["cc_projection_out"]),
        "image_latents": torch.from_numpy(expected["vae_mode"]),
        "guidance": torch.tensor([[3.0]]),
    }
    latents = fill.noise("zero123_xT", (1, 4, 32, 32))[0]
    for step, timestep in enumerate(schedule.timesteps):
        time = torch.tensor([[float(timestep)]])
        predicted = unet(latents=torch.from_numpy(latents)[None], timestep=time, **conditions).numpy()[0]
        fresh = fill.noise(f"zero123_ddim_noise_{step}", (1, 4, 32, 32))[0]
        latents = ddim_step(latents, predicted, schedule, step, eta=float(eta), fresh=fresh if eta else None)
    assert_same(latents[None], expected[f"ddim5_{kind}_eta{eta}"])


def test_a_whole_view_from_noise_to_picture(zero123, reference):
    expected = reference("zero123/reduced")
    latents = torch.from_numpy(expected["ddim5_raw_eta0"])
    image = zero123("vae_decoder")(latents=latents / LATENT_SCALE)
    assert_same(((image + 1) / 2).clamp(0, 1)[:, :, ::2, ::2], expected["ddim5_raw_eta0_image01"])


@pytest.mark.parametrize("layout", ["edsr/reduced", "edsr/baseline"])
def test_edsr(tmp_path, weights, reference, layout):
    if layout == "edsr/baseline":
        # Without a config.json: it is known by its 64 features.
        (tmp_path / "edsr").mkdir()
        torch.save(tensors(layout), tmp_path / "edsr" / "edsr_baseline_x4-6b446fab.pt")
        weights = tmp_path
    expected = reference(layout)
    image = torch.from_numpy(expected["input_uint8"]).permute(2, 0, 1)[None].float()
    assert_same(load_network("edsr", weights)(image=image), expected["output"])


def test_sams_encoder_and_its_four_masks(weights, reference):
    from PIL import Image

    expected = reference("sam/reduced")
    height, width = expected["input_size"]
    picture = Image.fromarray(fill.image("sam", *expected["original_size"])).resize((width, height), Image.BILINEAR)
    normalised = (np.asarray(picture, np.float32) - (123.675, 116.28, 103.53)) / (58.395, 57.12, 57.375)
    image = np.zeros((1, 3, 256, 256), np.float32)
    image[0, :, :height, :width] = normalised.transpose(2, 0, 1)
    assert_same(image[:, :, ::5, ::5], expected["model_input"])
    embedding = load_network("sam_encoder", weights)(image=torch.from_numpy(image))
    assert_same(embedding, expected["image_embedding"])

    decoder = load_network("sam_decoder", weights)
    assert_same(decoder.positions, expected["dense_pe"])
    box = torch.from_numpy(expected["box_transformed"]).float()
    assert_same(decoder.prompts(None, None, box[:, None], None)[0][0], expected["sparse_embedding"])
    masks, predicted_iou = decoder(embedding=embedding, box=box)
    assert_same(masks[0, :1], expected["single.low_res_logits"])
    assert_same(masks[0, 1:], expected["multi.low_res_logits"])
    assert_same(predicted_iou[0, :1], expected["single.iou"])
    assert_same(predicted_iou[0, 1:], expected["multi.iou"])


@pytest.fixture(scope="module")
def grounding_dino(weights):
    return load_network("grounding_dino", weights)


CAPTIONS = {"chair": [(1, 3)], "two": [(1, 4), (4, 6)]}
"""Where the phrases of each caption begin and end, with their closing full stops."""


def caption(ids, phrases, length):
    """The four text inputs, padded to a length."""
    padded = np.zeros((1, length), np.int64)
    padded[:, : ids.shape[1]] = ids
    positions, visible = np.zeros_like(padded), np.eye(length, dtype=bool)[None]
    for start, end in phrases:
        positions[0, start:end] = np.arange(end - start)
        visible[0, start:end, start:end] = True
    inputs = {
        "input_ids": padded,
        "attention_mask": np.arange(length)[None] < ids.shape[1],
        "position_ids": positions,
        "text_self_attention_mask": visible,
    }
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def detections(module, expected, case, *, length=None):
    """Logits of the caption's tokens and boxes, (40, tokens) and (40, 4)."""
    ids = expected[f"{case}.input_ids"]
    phrases = CAPTIONS["chair" if ids.shape[1] == 4 else "two"]
    name, height_width = (f"gdino_{case}", expected[f"{case}.image_hw"]) if "wide" in case else ("gdino", (150, 203))
    image = (fill.image(name, *height_width).astype(np.float32) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    image = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    logits, boxes = module(image=image, **caption(ids, phrases, length or ids.shape[1]))
    assert (logits[..., ids.shape[1] :] == -np.inf).all()
    return logits[..., : ids.shape[1]].numpy(), boxes.numpy()


@pytest.mark.parametrize("case", ["chair", "two"])
def test_grounding_dino_row_by_row(grounding_dino, reference, case):
    expected = reference("groundingdino/reduced")
    inputs = caption(expected[f"{case}.input_ids"], CAPTIONS[case], expected[f"{case}.input_ids"].shape[1])
    assert np.array_equal(inputs["position_ids"], expected[f"{case}.position_ids"])
    assert np.array_equal(inputs["text_self_attention_mask"], expected[f"{case}.text_self_attention_masks"])
    logits, boxes = detections(grounding_dino, expected, case)
    assert_same(logits, expected[f"{case}.pred_logits"])
    assert_same(boxes, expected[f"{case}.pred_boxes"])


@pytest.mark.parametrize("case", ["chair", "two"])
def test_grounding_dinos_caption_may_be_padded(grounding_dino, reference, case):
    expected = reference("groundingdino/reduced")
    logits, boxes = detections(grounding_dino, expected, case, length=256)
    assert_same(logits, expected[f"{case}.pred_logits"])
    assert_same(boxes, expected[f"{case}.pred_boxes"])


@pytest.mark.parametrize("case", ["wide", "wide2"])
def test_grounding_dino_as_a_set_where_some_anchors_are_invalid(grounding_dino, reference, case):
    expected = reference("groundingdino/reduced")
    logits, boxes = detections(grounding_dino, expected, case)
    ours = np.concatenate([boxes, logits], axis=-1)[0]
    theirs = np.concatenate([expected[f"{case}.pred_boxes"], expected[f"{case}.pred_logits"]], axis=-1)[0]
    scale = np.array([1.0] * 4 + [np.abs(expected[f"{case}.pred_logits"]).max()] * logits.shape[-1])
    nearest = (np.abs(ours[None] - theirs[:, None]) / scale).max(axis=-1).min(axis=1)
    assert nearest.max() <= TOLERANCE, f"farthest query is off by {nearest.max():.2e}"


def test_the_comparison_finds_a_wrong_weight(tmp_path, reference):
    state = tensors("edsr/baseline")
    state["tail.1.weight"] = state["tail.1.weight"] * 1.001
    (tmp_path / "edsr").mkdir()
    torch.save(state, tmp_path / "edsr" / "edsr_baseline_x4-6b446fab.pt")
    expected = reference("edsr/baseline")
    image = torch.from_numpy(expected["input_uint8"]).permute(2, 0, 1)[None].float()
    with pytest.raises(AssertionError, match="differs"):
        assert_same(load_network("edsr", tmp_path)(image=image), expected["output"])


def test_the_filled_weights_are_those_of_the_references():
    import json

    checksums = json.loads((REFERENCE / "fill_checksums.json").read_text())
    layouts = [layout for layout in checksums if (REFERENCE / layout / "reference.npz").is_file()]
    assert len(layouts) == 5
    for layout in layouts:
        state = tensors(layout)
        for key, (first, total, squares) in checksums[layout].items():
            values = state[key].numpy().astype(np.float64).ravel()
            np.testing.assert_allclose(values[:3], first, rtol=1e-6)
            np.testing.assert_allclose([values.sum(), (values**2).sum()], [total, squares], rtol=1e-6, atol=1e-9)
