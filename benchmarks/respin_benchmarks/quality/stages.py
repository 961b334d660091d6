"""What no served job shows: single stages on the truth, and the baselines of the novel view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from respin.contracts.networks import IMAGE_HEIGHT, SMALL_HEIGHT, VAE_DECODER, VAE_ENCODER
from respin.errors import ObjectNotFound
from respin.geometry import Box, Size, fit_within
from respin.request import DEFAULTS
from respin.scenes import KINDS, TRAINING_SEEDS, Scene, ViewPair, render_pair
from respin.scenes.furniture import make_object
from respin_benchmarks.quality.judge import ENLARGEMENT
from respin_benchmarks.quality.metrics import box_iou, downscale, psnr_db
from respin_ensemble.imaging.tensors import Picture, channels_last, from_signed, to_signed
from respin_ensemble.networks import Networks
from respin_ensemble.stages.detection import find_object
from respin_ensemble.stages.inpainting import prepare
from respin_ensemble.stages.super_resolution import enlarge

CLASS_MEAN_OBJECTS = 16
"""Training objects in a class mean."""

SAME_PLACE_IOU = 0.3
"""Least IoU at which a detection in the background is taken for the object that was there."""


def detected_box(networks: Networks, photo: Picture, name: str) -> Box | None:
    """Return the box of a name at the default thresholds, or None if it is not found."""
    try:
        return find_object(
            networks,
            photo,
            name,
            box_threshold=DEFAULTS["box_threshold"],
            text_threshold=DEFAULTS["text_threshold"],
        ).box
    except ObjectNotFound:
        return None


def detection_figures(networks: Networks, scene: Scene) -> dict[str, float]:
    """Ask for each of two objects, and for one that is not there.

    An object of two is the right one if the box overlaps it more than the other.
    """
    absent = sorted(set(KINDS) - {shown.kind for shown in scene.objects})
    name = absent[scene.seed % len(absent)]
    figures = {"false_box": float(detected_box(networks, scene.photo, name) is not None)}
    if len(scene.objects) == 2:
        boxes = [shown.box for shown in scene.objects]
        found = [detected_box(networks, scene.photo, shown.kind) for shown in scene.objects]
        right = [is_right_one(box, *pair) for box, pair in zip(found, (boxes, boxes[::-1]), strict=True)]
        figures["right_of_two"] = sum(right) / len(right)
    return figures


def is_right_one(found: Box | None, asked: Box, other: Box) -> bool:
    """Whether a box overlaps the object that was asked for more than the other one."""
    return found is not None and box_iou(found, asked) > box_iou(found, other)


def removal_figures(networks: Networks, scene: Scene, background: Picture | None) -> dict[str, float]:
    """Look for the object where it stood: in the job's background, if there is one, and in the true one."""

    def is_gone(picture: Picture) -> float:
        box = detected_box(networks, picture, scene.target.kind)
        return float(box is None or box_iou(box, scene.target.box) < SAME_PLACE_IOU)

    figures = {"removed_truth": is_gone(scene.background)}
    return figures if background is None else {"removed": is_gone(background), **figures}


def super_resolution_figures(networks: Networks, view: Picture, photo: Picture) -> dict[str, float]:
    """Enlarge the reduced truth.

    Args:
        networks: networks of the set.
        view: (H, W, 3) uint8, at the size that is served.
        photo: (H, W, 3) uint8.
    """
    truths = {"edsr_view": view, "edsr_scene": photo}
    figures = {}
    for name, truth in truths.items():
        height, width = (min(SMALL_HEIGHT.largest, length // ENLARGEMENT) for length in truth.shape[:2])
        large = truth[: ENLARGEMENT * height, : ENLARGEMENT * width]
        small = downscale(large, width, height)
        bicubic = Image.fromarray(small).resize((large.shape[1], large.shape[0]), Image.Resampling.BICUBIC)
        figures[f"{name}_bicubic"] = psnr_db(np.asarray(bicubic), large)
        figures[f"{name}_gain"] = psnr_db(enlarge(networks, small), large) - figures[f"{name}_bicubic"]
    return figures


def round_trip(networks: Networks, picture: Picture) -> tuple[Picture, Picture]:
    """Encode a picture and decode the mean of its latents.

    Args:
        networks: networks of the set.
        picture: (H, W, 3) uint8; it is fitted into the size of the inpainting.

    Returns:
        The decoded and the original picture, both in the network's frame.
    """
    size = Size.from_array(picture)
    fit = fit_within(size, min(networks.sizes.inpaint_side, size.longest), IMAGE_HEIGHT.multiple_of)
    image, _ = prepare(picture, np.zeros(picture.shape[:2], np.bool_), fit)
    latents = networks(VAE_ENCODER, image=image[None])["mean"]
    decoded = networks(VAE_DECODER, latents=latents)["image"][0]
    levels = ((channels_last(image) + 1) * 127.5).round().astype(np.uint8)
    return fit.remove_padding(from_signed(decoded).round().astype(np.uint8)), fit.remove_padding(levels)


class ClassMeans:
    """The mean view of training objects of a kind from the true new side: the best guess without seeing the object.

    Args:
        side: side of the views, px.
        object_share: share of the side that the object's longer side fills before the move.
        seeds: one object of each kind is made from each.
    """

    def __init__(
        self, side: int, object_share: float, seeds: Sequence[int] = TRAINING_SEEDS[:CLASS_MEAN_OBJECTS]
    ) -> None:
        self._side, self._share = side, object_share
        self._meshes = {kind: [make_object(kind, np.random.default_rng(seed)) for seed in seeds] for kind in KINDS}

    def view(self, scene: Scene) -> Picture:
        """Return the mean for a scene's kind, camera and move: (side, side, 3) uint8."""
        pairs = [
            render_pair(
                mesh,
                scene.camera,
                scene.facing,
                azimuth=scene.azimuth,
                polar=0.0,
                side=self._side,
                object_share=self._share,
            )
            for mesh in self._meshes[scene.target.kind]
        ]
        return np.asarray(np.mean([pair.after for pair in pairs], axis=0).round(), np.uint8)


def view_baselines(networks: Networks, scene: Scene, pair: ViewPair, means: ClassMeans) -> dict[str, Picture]:
    """Return what the novel view is compared with, (side, side, 3) uint8 by the suffix of its columns."""
    latents = networks(VAE_ENCODER, image=to_signed(pair.after)[None])["mean"]
    decoded = networks(VAE_DECODER, latents=latents)["image"][0]
    # Truncated like the served view.
    return {"copy": pair.before, "class_mean": means.view(scene), "ceiling": from_signed(decoded).astype(np.uint8)}
