"""The committed mini set: what the rest of the project may rely on."""

from __future__ import annotations

import shutil
from functools import cache

import numpy as np
import pytest
from PIL import Image

from respin.bundled import bundled_path
from respin.contracts import NETWORKS
from respin.errors import ContractMismatch
from respin.model_set import ModelSet
from respin.onnx_runtime import onnxruntime
from respin.scenes import HELD_OUT_SEEDS, SceneOptions, render_scene
from respin.specs import ModelSpec
from respin_export.example import example_inputs, example_lengths
from respin_export.graph import check_graph
from respin_export.parity import compare_fp32

FOLDER = bundled_path("models/mini")
MINI = ModelSet.load(FOLDER)

each_network = pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS)


@cache
def session(name):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(MINI.file(FOLDER, NETWORKS[name]), options, providers=["CPUExecutionProvider"])


def run(spec, inputs):
    return session(spec.name).run([tensor.name for tensor in spec.outputs], inputs)


def inputs_of(spec: ModelSpec, batch, seed=0):
    lengths = example_lengths(spec, MINI.sizes)
    return example_inputs(spec, MINI.sizes, batch=batch, lengths=lengths, seed=seed)


def test_the_manifest_speaks_of_these_very_files():
    MINI.verify(FOLDER)
    assert list(MINI.networks) == list(NETWORKS)
    assert MINI.origin["knows"] == "rendered scenes"
    assert set(MINI.origin["training"]) == set(NETWORKS)


def test_a_file_that_was_touched_is_found_out(tmp_path):
    copy = shutil.copytree(FOLDER, tmp_path / "mini")
    with (copy / MINI.networks["edsr"][0].path).open("r+b") as file:
        file.write(b"\0")
    with pytest.raises(ContractMismatch, match="edsr"):
        ModelSet.load(copy).verify(copy)


def test_the_set_is_small_enough_to_commit():
    assert MINI.size_bytes <= 40e6


@each_network
def test_the_graph_keeps_to_its_contract(spec):
    check_graph(MINI.file(FOLDER, spec), spec, MINI.sizes)


@each_network
@pytest.mark.parametrize("batch", [1, 2])
def test_a_network_takes_and_gives_what_its_contract_says(spec, batch):
    inputs = inputs_of(spec, batch)
    spec.check_inputs(inputs)
    for tensor, array in zip(spec.outputs, run(spec, inputs), strict=True):
        tensor.check(array, batched=True, owner=spec.name)
        assert len(array) == batch
        # GroundingDINO marks padding with -inf; everything else is a number.
        padding = (spec.name, tensor.name) == ("grounding_dino", "logits")
        assert np.isfinite(array).all() or (padding and np.isfinite(array).any() and not np.isnan(array).any())


@each_network
def test_batching_changes_nothing_beyond_float_noise(spec):
    inputs = inputs_of(spec, batch=2)
    together = run(spec, inputs)
    for sample in (0, 1):
        alone = run(spec, {name: array[sample : sample + 1] for name, array in inputs.items()})
        compare_fp32(spec, alone, [array[sample : sample + 1] for array in together])


@pytest.mark.parametrize(
    ("name", "tensor"), [(spec.name, tensor.name) for spec in NETWORKS.values() for tensor in spec.inputs]
)
def test_every_input_matters(name, tensor):
    spec = NETWORKS[name]
    inputs = inputs_of(spec, batch=1)
    before = run(spec, inputs)
    after = run(spec, inputs | {tensor: another(inputs[tensor], tensor)})
    assert any(not np.array_equal(old, new) for old, new in zip(before, after, strict=True))


def another(array, tensor):
    """Another value of the same kind; of a text mask, one token more or less."""
    changed = array.copy()
    if tensor == "attention_mask":
        changed[:, 2] ^= True
    elif tensor == "text_self_attention_mask":
        changed[:, 1, 2] ^= True
    elif array.dtype == np.int64:
        changed[:, 1] += 1
    else:
        changed[..., 0] += 1
    return changed


def picture(scene, mean, deviation, fitted, padded):
    """A scene's photo as a network takes it: (1, 3, H, W) float32, zero-padded below and right."""
    small = Image.fromarray(scene.photo).resize(fitted, Image.Resampling.BILINEAR)
    pixels = (np.asarray(small, np.float32) - mean) / deviation
    image = np.zeros((1, 3, *padded), np.float32)
    image[0, :, : small.height, : small.width] = pixels.transpose(2, 0, 1)
    return image


SCENES = [render_scene(seed, SceneOptions(two_objects=0)) for seed in HELD_OUT_SEEDS[300:304]]
each_scene = pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.target.kind)


@each_scene
def test_detections_lie_within_the_photo(scene):
    height, width = MINI.sizes.detection_short_side, MINI.sizes.detection_short_side * 4 // 3
    image = picture(scene, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375], (width, height), (height, width))
    logits, boxes = run(NETWORKS["grounding_dino"], inputs_of(NETWORKS["grounding_dino"], batch=1) | {"image": image})
    assert np.isneginf(logits[..., 7:]).all()
    assert np.isfinite(logits[..., :7]).all()
    centres = boxes[0, :, :2]
    assert centres.min() >= 0
    assert centres.max() <= 1.1
    assert len(np.unique(boxes[0].round(3), axis=0)) > 100


@each_scene
def test_a_mask_is_the_objects(scene):
    side = MINI.sizes.sam_side
    scale = side / 512
    image = picture(scene, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375], (side, side * 3 // 4), (side, side))
    (embedding,) = run(NETWORKS["sam_encoder"], {"image": image})
    box = scene.target.box.to_array()[None] * np.float32(scale)
    masks, predicted_iou = run(NETWORKS["sam_decoder"], {"embedding": embedding, "box": box})
    # A mask's pixel is eight of the photo's, each way.
    truth = scene.target.mask[4::8, 4::8]
    found = masks[0, 0, : len(truth)] > 0
    assert (found & truth).sum() / (found | truth).sum() > 0.8
    assert predicted_iou.min() >= 0
    assert predicted_iou.max() <= 1


@each_scene
def test_a_picture_survives_the_way_through_the_latents(scene):
    image = (scene.photo[64:320, 128:384].astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
    mean, _ = run(NETWORKS["vae_encoder"], {"image": image})
    assert 0.3 < (mean * 0.18215).std() < 3
    (decoded,) = run(NETWORKS["vae_decoder"], {"latents": mean})
    assert 10 * np.log10(4 / np.mean((decoded - image) ** 2)) > 24
