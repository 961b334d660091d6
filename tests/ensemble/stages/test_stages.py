"""Each stage: what it feeds its network, and what it makes of the answer."""

import numpy as np
import pytest
import torch

from respin.bundled import bundled_path
from respin.contracts.networks import EDSR
from respin.errors import ContractMismatch, InvalidInput, ObjectNotFound
from respin.geometry import Box, Placement, Size, fit_longest_side
from respin_ensemble.batching.batchers import StepBatchers
from respin_ensemble.imaging.masks import dilate
from respin_ensemble.imaging.tensors import BILINEAR, map_levels, resize, to_signed
from respin_ensemble.networks.onnx import OnnxNetworks
from respin_ensemble.sampling import Guidance, SamplingParams
from respin_ensemble.stages import detection, segmentation
from respin_ensemble.stages.detection import find_object, sigmoid
from respin_ensemble.stages.inpainting import InpaintParams, crop_around, fill, text_contexts
from respin_ensemble.stages.novel_view import CameraProjection, clip_image, encode_condition, turn
from respin_ensemble.stages.segmentation import mask_at, object_mask
from respin_ensemble.stages.super_resolution import enlarge

THRESHOLDS = {"box_threshold": 0.35, "text_threshold": 0.25}


def photo_of(height=120, width=160):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def no_report(done, steps):
    pass


class TestDetection:
    def test_the_surest_query_becomes_a_box_of_the_photo(self, networks):
        found = find_object(networks, photo_of(), "laptop", **THRESHOLDS)
        np.testing.assert_allclose(found.box.to_array(), [48, 24, 112, 96], rtol=1e-6)
        assert found.score == pytest.approx(0.9)
        assert found.phrase == "laptop"

    def test_the_network_sees_the_photo_normalised_at_its_short_side(self, networks):
        photo = np.full((120, 160, 3), (124, 116, 104), np.uint8)
        find_object(networks, photo, "laptop", **THRESHOLDS)
        image = networks.fed["grounding_dino"][0]["image"]
        assert image.shape == (1, 3, 160, 213)
        assert np.abs(image).max() < 0.02

    def test_an_object_that_is_not_there_is_told_with_its_best_score(self, networks):
        networks.score = 0.12
        told = r"no 'unicorn' in the photo: best match 0\.12, threshold 0\.35"
        with pytest.raises(ObjectNotFound, match=told):
            find_object(networks, photo_of(), "unicorn", **THRESHOLDS)

    def test_a_score_that_only_equals_the_threshold_is_not_enough(self, networks):
        networks.score = 0.5
        with pytest.raises(ObjectNotFound):
            find_object(networks, photo_of(), "laptop", box_threshold=0.5, text_threshold=0.25)

    def test_a_name_of_stop_words_is_refused_before_any_network_runs(self, networks):
        with pytest.raises(InvalidInput):
            find_object(networks, photo_of(), "the of and", **THRESHOLDS)
        assert not networks.fed

    def test_padding_has_no_probability(self):
        np.testing.assert_allclose(sigmoid(np.array([-np.inf, 0, 1e4], np.float32)), [0, 0.5, 1])


class TestSegmentation:
    def test_a_mask_comes_back_in_the_photos_pixels(self, networks):
        mask = object_mask(networks, photo_of(), Box(40, 30, 120, 90))
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        np.testing.assert_allclose([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], [40, 30, 120, 90], atol=3)

    def test_the_network_sees_the_photo_above_left_and_zeros_elsewhere(self, networks):
        object_mask(networks, photo_of(), Box(40, 30, 120, 90))
        image = networks.fed["sam_encoder"][0]["image"][0]
        assert image.shape == (3, 256, 256)
        assert image[:, :192].std() > 0.3
        assert not image[:, 192:].any()
        box = networks.fed["sam_decoder"][0]["box"][0]
        np.testing.assert_allclose(box, np.array([40, 30, 120, 90]) * 1.6)

    def test_the_best_of_three_is_the_one_with_the_highest_iou(self, networks):
        single = object_mask(networks, photo_of(), Box(40, 30, 120, 90))
        best = object_mask(networks, photo_of(), Box(40, 30, 120, 90), choice="best")
        assert 0.3 < best.sum() / single.sum() < 0.7

    def test_mask_logits_are_resized_as_sam_does(self):
        logits = np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32)
        fit = fit_longest_side(Size(150, 97), 256)
        square = torch.nn.functional.interpolate(torch.from_numpy(logits)[None, None], (256, 256), mode="bilinear")
        cropped = square[..., : fit.fitted.height, : fit.fitted.width]
        wanted = torch.nn.functional.interpolate(cropped, (150, 97), mode="bilinear")[0, 0].numpy()
        near_zero = np.abs(wanted) < 1e-4
        assert ((mask_at(logits, fit) == (wanted > 0)) | near_zero).all()


class TestNovelView:
    def test_clip_sees_what_kornias_resize_would_show_it(self):
        image = np.random.default_rng(2).uniform(-1, 1, (3, 256, 256)).astype(np.float32)
        small = torch.nn.functional.interpolate(
            torch.from_numpy(image)[None], (224, 224), mode="bicubic", align_corners=True
        )[0].numpy()
        mean = np.array([0.48145466, 0.4578275, 0.40821073])[:, None, None]
        std = np.array([0.26862954, 0.26130258, 0.27577711])[:, None, None]
        np.testing.assert_allclose(clip_image(image), ((small + 1) / 2 - mean) / std, atol=5e-4)

    def turned(self, networks, moves, **options):
        sampling = SamplingParams("ddim", 3, Guidance(2.5), eta=1.0)
        options = {"sampling": sampling, "seed": 4, "on_step": no_report, **options}
        condition = encode_condition(networks, np.zeros((64, 64, 3), np.uint8))
        contexts = CameraProjection(networks).contexts(condition, moves)
        with StepBatchers(networks) as batchers:
            views = dict(turn(networks, batchers.run, condition, contexts, **options))
        return [views[view] for view in range(len(moves))]

    def test_each_move_is_a_view_and_all_share_every_call(self, networks):
        views = self.turned(networks, [(80, 0), (0, -10), (120, 5)])
        assert [view.shape for view in views] == [(64, 64, 3)] * 3
        calls = networks.fed["zero123_unet"]
        assert [len(call["latents"]) for call in calls] == [3, 3, 3]
        assert len(networks.fed["vae_encoder"]) == 1
        np.testing.assert_allclose(calls[0]["context"][:, 0, 0], np.radians([0, -10, 5]), atol=1e-6)
        assert (calls[0]["guidance"] == 2.5).all()

    def test_the_condition_is_the_mean_and_not_scaled_but_what_is_decoded_is(self, networks):
        self.turned(networks, [(80, 0)])
        assert (networks.fed["zero123_unet"][0]["image_latents"] == -1).all()
        last = networks.fed["zero123_unet"][-1]["latents"]
        assert np.abs(networks.fed["vae_decoder"][0]["latents"]).max() > 2 * np.abs(last).max()

    def test_a_view_does_not_depend_on_its_company(self, networks):
        self.turned(networks, [(80, 0)])
        self.turned(networks, [(80, 0), (10, 0)])
        alone, together, _ = (call["latents"][0] for call in networks.fed["vae_decoder"])
        np.testing.assert_array_equal(alone, together)

    def test_another_seed_is_another_picture(self, networks):
        self.turned(networks, [(80, 0)])
        self.turned(networks, [(80, 0)], seed=5)
        first, second = (call["latents"] for call in networks.fed["vae_decoder"])
        assert not np.array_equal(first, second)

    def test_colours_are_cut_off_below_not_rounded(self, networks):
        networks.decoded = 0.25
        (view,) = self.turned(networks, [(0, 0)])
        assert (view == int(1.25 / 2 * 255)).all()


class TestSuperResolution:
    def test_a_view_comes_back_four_times_larger_and_rounded(self, networks):
        view = photo_of(64, 48)
        np.testing.assert_array_equal(enlarge(networks, view)[::4, ::4], view)
        assert networks.fed["edsr"][0]["image"].max() > 200


class TestInpainting:
    def filled(self, networks, photo, hole, **options):
        options = {
            "prompt": "a table",
            "negative_prompt": "laptop",
            "sampling": SamplingParams("ddim", 3, Guidance(7.5)),
            "grown_px": 20,
            "seed": 4,
            **options,
        }
        contexts = text_contexts(networks, options["prompt"], options["negative_prompt"])
        with StepBatchers(networks) as batchers:
            params = InpaintParams(**options)
            patch = fill(networks, batchers.run, photo, hole, params, contexts=contexts, on_step=no_report)
        return patch.paste_into(photo)

    def hole(self, height=120, width=160):
        hole = np.zeros((height, width), np.bool_)
        hole[50:70, 60:100] = True
        return hole

    def test_pixels_outside_the_hole_are_bit_identical(self, networks):
        photo, hole = photo_of(), self.hole()
        filled = self.filled(networks, photo, hole)
        np.testing.assert_array_equal(filled[~hole], photo[~hole])
        assert (filled[60, 80] == round(1.25 / 2 * 255)).all()

    def test_the_unet_gets_nine_channels_of_the_right_meaning(self, networks):
        self.filled(networks, np.full((120, 160, 3), 255, np.uint8), self.hole())
        call = networks.fed["inpaint_unet"][0]
        assert [call[name].shape[1] for name in ("latents", "mask", "masked_image_latents")] == [4, 1, 4]
        image = networks.fed["vae_encoder"][0]["image"][0]
        assert set(np.unique(image)) == {0, 1}, "the hole is mid grey, the rest as it was"
        mask = call["mask"][0, 0]
        assert set(np.unique(mask)) == {0, 1}
        np.testing.assert_array_equal(mask, (image[0] == 0)[::8, ::8])
        inside = call["masked_image_latents"][0][:, mask == 0]
        assert inside.max() == pytest.approx(0.18215, rel=1e-3), "scaled, unlike Zero123's condition"

    def test_the_prompt_comes_first_and_what_to_avoid_second(self, networks):
        self.filled(networks, photo_of(), self.hole())
        contexts = networks.fed["inpaint_unet"][0]["contexts"][0]
        ids = networks.fed["clip_text"][0]["input_ids"]
        np.testing.assert_array_equal(contexts[:, :, 0], ids)
        assert (ids[0] != ids[1]).any()

    def test_a_crop_keeps_the_photos_proportions_and_pads_with_known_pixels(self, networks):
        hole = np.zeros((90, 400), np.bool_)
        hole[:, 100:300] = True
        self.filled(networks, photo_of(90, 400), hole)
        image = networks.fed["vae_encoder"][0]["image"]
        assert image.shape == (1, 3, 64, 128)
        assert not networks.fed["inpaint_unet"][0]["mask"][0, 0, 4:].any()

    def test_a_hole_at_the_corner_is_filled_too(self, networks):
        hole = np.zeros((120, 160), np.bool_)
        hole[:30, :40] = True
        photo = photo_of()
        filled = self.filled(networks, photo, hole)
        np.testing.assert_array_equal(filled[~hole], photo[~hole])
        assert (filled[0, 0] == round(1.25 / 2 * 255)).all()

    def test_a_hole_that_is_the_whole_photo_is_filled_whole(self, networks):
        filled = self.filled(networks, photo_of(), np.ones((120, 160), np.bool_))
        assert (filled == round(1.25 / 2 * 255)).all()

    def test_the_crop_shows_the_room_round_the_hole(self):
        crop = crop_around(self.hole(), Size(120, 160))
        assert crop == Placement(40, 30, 80, 60)


def test_growing_the_mask_by_the_default_covers_the_object_at_full_opacity(networks):
    photo, mask = photo_of(), np.zeros((120, 160), np.bool_)
    mask[50:70, 60:100] = True
    filled = TestInpainting().filled(networks, photo, dilate(mask, 50), grown_px=50)
    assert (filled[mask] == round(1.25 / 2 * 255)).all()


def test_beside_the_object_the_paste_is_opaque_and_then_fades_evenly_until_the_edge_of_the_hole(networks):
    photo, mask = np.zeros((120, 160, 3), np.uint8), np.zeros((120, 160), np.bool_)
    mask[50:70, 60:100] = True
    filled = TestInpainting().filled(networks, photo, dilate(mask, 50), grown_px=50)
    margin = filled[60, 36:60, 0] / round(1.25 / 2 * 255)
    np.testing.assert_allclose(margin, np.minimum(np.arange(1, 25) / 20, 1), atol=0.01)


def test_more_views_than_a_batch_holds_share_full_batches(networks):
    TestNovelView().turned(networks, [(angle, 0) for angle in range(11)])
    assert [len(call["latents"]) for call in networks.fed["zero123_unet"]] == [8, 8, 8, 6, 3]


def test_an_array_that_breaks_the_contract_reaches_no_network(networks):
    with pytest.raises(ContractMismatch):
        networks(EDSR, image=np.zeros((1, 3, 64, 64)))
    assert not networks.fed


def test_a_picture_is_shrunk_by_averaging():
    stripes = np.zeros((160, 160, 3), np.uint8)
    stripes[:, ::2] = 255
    inside = resize(stripes, Size(40, 40), BILINEAR)[:, 1:-1]
    assert np.abs(inside.astype(int) - 127).max() <= 2


@pytest.mark.parametrize(
    ("module", "arithmetic"),
    [
        (detection, lambda levels: (levels / 255 - detection.IMAGENET_MEAN) / detection.IMAGENET_STD),
        (segmentation, lambda levels: (levels - segmentation.SAM_MEAN) / segmentation.SAM_STD),
    ],
)
def test_a_table_of_levels_gives_the_numbers_of_arithmetic_on_every_pixel(module, arithmetic):
    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    wanted = arithmetic(picture.astype(np.float32)).transpose(2, 0, 1)
    np.testing.assert_array_equal(map_levels(picture, module.NORMALISED), wanted)


def test_the_networks_range_is_made_of_every_level():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    np.testing.assert_array_equal(to_signed(levels)[0].ravel(), np.arange(256, dtype=np.float32) / 127.5 - 1)


def test_a_gpu_that_onnx_runtime_was_not_built_for_is_refused_in_words():
    with pytest.raises(InvalidInput, match="built without CUDA; pip uninstall onnxruntime"):
        OnnxNetworks.from_set(bundled_path("models/mini"), device="cuda")
