"""Reduced checkpoints in the authors' layouts: our modules compute what the authors' own code computed.

The comparisons are `respin parity`'s own; what is checked here beside them it does not have: values from within the
networks, whole trajectories, rows of GroundingDINO instead of sets.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from reference_files import ORIGINALS, REFERENCE, tensors

from respin_ensemble.sampling.ddim import ddim_step
from respin_ensemble.sampling.noise_schedules import zero123_schedule
from respin_export.checkpoints import load_network
from respin_export.errors import ExportMismatch
from respin_export.originals import edsr, grounding_dino, sam, zero123
from respin_export.originals.case import cases_of
from respin_export.parity import TOLERANCE, deviations_fp32, module_outputs

ORIGINAL_NETWORKS = (
    "grounding_dino",
    "sam_encoder",
    "sam_decoder",
    "clip_vision",
    "vae_encoder",
    "vae_decoder",
    "edsr",
)
"""All that authors' own code was run for, but for the UNet, which has two sets of weights."""


def assert_same(ours, theirs):
    (deviation,) = deviations_fp32("a part", [np.asarray(ours)], {"it": theirs})
    assert deviation.passes, f"differs by {deviation.error:.2e} of the greatest magnitude"


def assert_case(module, case):
    """Every output is within its gate."""
    deviations = deviations_fp32(case.network, case.kept(module_outputs(module, case.inputs)), case.wanted)
    assert [each for each in deviations if not each.passes] == []


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def network(weights):
    """(network) -> its module, loaded once."""
    loaded = {}

    def load(name, **options):
        key = (name, *options.items())
        if key not in loaded:
            loaded[key] = load_network(name, weights, **options)
        return loaded[key]

    return load


@pytest.mark.parametrize("name", ORIGINAL_NETWORKS)
def test_a_network_computes_what_its_authors_code_computed(network, weights, name):
    cases = cases_of(name, ORIGINALS, weights)
    assert cases
    for case in cases:
        assert_case(network(name), case)


@pytest.mark.parametrize("raw_weights", [False, True], ids=["moving average", "last weights"])
def test_zero123s_unet(network, weights, raw_weights):
    (case,) = (each for each in cases_of("zero123_unet", ORIGINALS, weights) if each.raw_weights is raw_weights)
    assert_case(network("zero123_unet", raw_weights=raw_weights), case)


def test_zero123s_averaged_weights_are_not_its_raw_ones():
    known = ORIGINALS.outputs(zero123.LAYOUT)
    difference = np.abs(known["unet_out_ema"] - known["unet_out_raw"]).max()
    assert difference > np.abs(known["unet_out_raw"]).max()


def test_clips_image_and_its_embedding_before_the_projection_of_the_camera(network):
    known = ORIGINALS.outputs(zero123.LAYOUT)
    image = zero123.clip_image()
    assert_same(image[:, :, ::7, ::7], known["clip_preprocessed"])
    embedding = network("clip_vision").model(pixel_values=torch.from_numpy(image)).image_embeds
    assert_same(embedding[:, None], known["clip_embed"])


@pytest.mark.parametrize("eta", [0, 1])
@pytest.mark.parametrize("kind", ["ema", "raw"])
def test_five_steps_of_the_authors_sampler(network, kind, eta):
    known = ORIGINALS.outputs(zero123.LAYOUT)
    schedule = zero123_schedule(5)
    assert list(schedule.timesteps) == sorted(known["ddim5_timesteps"], reverse=True)
    unet = network("zero123_unet", raw_weights=kind == "raw")
    conditions = {
        "context": known["cc_projection_out"],
        "image_latents": known["vae_mode"],
        "guidance": np.array([[3.0]], np.float32),
    }
    latents = zero123.noise("xT", 1, 4, 32, 32)[0]
    for step, timestep in enumerate(schedule.timesteps):
        time = np.array([[timestep]], np.float32)
        (predicted,) = module_outputs(unet, {"latents": latents[None], "timestep": time, **conditions})
        fresh = zero123.noise(f"ddim_noise_{step}", 1, 4, 32, 32)[0]
        latents = ddim_step(latents, predicted[0], schedule, step, eta=float(eta), fresh=fresh if eta else None)
    assert_same(latents[None], known[f"ddim5_{kind}_eta{eta}"])


def test_a_whole_view_from_noise_to_picture(network):
    known = ORIGINALS.outputs(zero123.LAYOUT)
    (image,) = module_outputs(network("vae_decoder"), {"latents": known["ddim5_raw_eta0"] / zero123.LATENT_SCALE})
    assert_same(((image + 1) / 2).clip(0, 1)[:, :, ::2, ::2], known["ddim5_raw_eta0_image01"])


def baseline(folder, change=lambda state: state):
    """A weights folder with EDSR's baseline, which is known by its 64 features: there is no config.json."""
    (folder / "edsr").mkdir()
    torch.save(change(tensors(edsr.BASELINE)), folder / "edsr" / "edsr_baseline_x4-6b446fab.pt")
    return load_network("edsr", folder), edsr.case(ORIGINALS, "edsr", edsr.BASELINE)


def test_edsrs_baseline(tmp_path):
    assert_case(*baseline(tmp_path))


def test_sams_image_and_what_becomes_of_a_box(network):
    known = ORIGINALS.outputs(sam.LAYOUT)
    assert_same(sam.image(ORIGINALS)[:, :, ::5, ::5], known["model_input"])
    decoder = network("sam_decoder")
    assert_same(decoder.positions, known["dense_pe"])
    box = torch.from_numpy(known["box_transformed"]).float()
    assert_same(decoder.prompts(None, None, box[:, None], None)[0][0], known["sparse_embedding"])


def detections(module, case, length):
    """Logits of the caption's tokens and boxes, (1, 40, tokens) and (1, 40, 4), of a caption padded to a length."""
    tokens = case.wanted["logits"].shape[-1]
    caption = grounding_dino.caption(case.inputs["input_ids"][:, :tokens], length)
    logits, boxes = module_outputs(module, {**case.inputs, **caption})
    assert (logits[..., tokens:] == -np.inf).all()
    return logits[..., :tokens], boxes


@pytest.fixture
def detection_cases(weights):
    return {case.name.partition(",")[0]: case for case in cases_of("grounding_dino", ORIGINALS, weights)}


@pytest.mark.parametrize("padded", [False, True], ids=["as it is", "padded"])
@pytest.mark.parametrize("name", ["chair", "two"])
def test_grounding_dino_row_by_row(network, detection_cases, name, padded):
    case = detection_cases[name]
    known = ORIGINALS.outputs(grounding_dino.LAYOUT)
    tokens = known[f"{name}.input_ids"].shape[1]
    inputs = grounding_dino.caption(known[f"{name}.input_ids"], tokens)
    assert np.array_equal(inputs["position_ids"], known[f"{name}.position_ids"])
    assert np.array_equal(inputs["text_self_attention_mask"], known[f"{name}.text_self_attention_masks"])
    logits, boxes = detections(network("grounding_dino"), case, 256 if padded else tokens)
    assert_same(logits, case.wanted["logits"])
    assert_same(boxes, case.wanted["boxes"])


@pytest.mark.parametrize("name", ["wide", "wide2"])
def test_grounding_dino_with_all_its_logits_where_some_anchors_are_invalid(network, detection_cases, name):
    case = detection_cases[name]
    logits, boxes = detections(network("grounding_dino"), case, case.wanted["logits"].shape[-1])
    ours = np.concatenate([boxes, logits], axis=-1)[0]
    theirs = np.concatenate([case.wanted["boxes"], case.wanted["logits"]], axis=-1)[0]
    scale = np.array([1.0] * 4 + [np.abs(case.wanted["logits"]).max()] * logits.shape[-1])
    nearest = (np.abs(ours[None] - theirs[:, None]) / scale).max(axis=-1).min(axis=1)
    assert nearest.max() <= TOLERANCE, f"farthest query is off by {nearest.max():.2e}"


def test_the_comparison_finds_a_wrong_weight(tmp_path):
    module, case = baseline(tmp_path, lambda state: {**state, "tail.1.weight": state["tail.1.weight"] * 1.001})
    with pytest.raises(AssertionError, match="upscaled"):
        assert_case(module, case)


def test_an_output_of_another_shape_is_refused(network, weights):
    (case,) = cases_of("edsr", ORIGINALS, weights)
    with pytest.raises(ExportMismatch, match="shape"):
        deviations_fp32("edsr", [case.wanted["upscaled"][:, :, :1]], case.wanted)


def test_a_logit_on_padding_is_not_overlooked(detection_cases):
    case = detection_cases["chair"]
    padded = np.full((1, 40, 256), -np.inf, np.float32)
    padded[..., :4] = case.wanted["logits"]
    assert case.kept([padded, case.wanted["boxes"]])[0].shape == (1, 40, 4)
    padded[0, 3, 100] = 50
    with pytest.raises(ExportMismatch, match="shape"):
        deviations_fp32("grounding_dino", case.kept([padded, case.wanted["boxes"]]), case.wanted)


def test_the_filled_weights_are_those_of_the_references():
    checksums = json.loads((REFERENCE / "fill_checksums.json").read_text())
    layouts = [layout for layout in checksums if (REFERENCE / layout / "reference.npz").is_file()]
    assert len(layouts) == 5
    for layout in layouts:
        state = tensors(layout)
        for key, (first, total, squares) in checksums[layout].items():
            values = state[key].numpy().astype(np.float64).ravel()
            np.testing.assert_allclose(values[:3], first, rtol=1e-6)
            np.testing.assert_allclose([values.sum(), (values**2).sum()], [total, squares], rtol=1e-6, atol=1e-9)
