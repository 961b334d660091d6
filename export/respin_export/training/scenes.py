"""Rendered data sets that several networks are trained on: photos with their truth, and objects on white."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from respin.scenes import HELD_OUT_SEEDS, KINDS, TRAINING_SEEDS, SceneOptions, render_scene
from respin.specs import Array
from respin_export.mini.sizes import SIZES
from respin_export.training.chunks import Chunks, Render, render_chunks

PHOTO_SIZE = (384, 512)
"""(height, width) of training photos, px."""


@dataclass(frozen=True)
class DataSet:
    """A rendered data set.

    Args:
        name: name of its folder.
        render: renders the arrays of some seeds.
        seeds: number of training seeds.
        held_out: number of held-out seeds, for the evaluation.
        chunk: number of seeds in a chunk.
    """

    name: str
    render: Render
    seeds: int
    held_out: int
    chunk: int = 250

    def make(self, root: Path, *, jobs: int, on_chunk: Callable[[int], None] = lambda _: None) -> None:
        """Render missing training data and held-out data."""
        for folder, seeds in (
            (root / f"{self.name}-held-out", HELD_OUT_SEEDS[: self.held_out]),
            (root / self.name, TRAINING_SEEDS[: self.seeds]),
        ):
            render_chunks(folder, self.render, seeds, chunk=self.chunk, jobs=jobs, on_chunk=on_chunk)

    def training(self, root: Path) -> Chunks:
        """Open the training data."""
        return Chunks(root / self.name)

    def held(self, root: Path) -> Chunks:
        """Open the held-out data."""
        return Chunks(root / f"{self.name}-held-out")


def render_photos(seeds: Sequence[int]) -> Mapping[str, Array]:
    """Render photos with their truth.

    Returns:
        photo and background (N, 384, 512, 3) uint8; masks (N, 2, 384, 512) bool, the object to turn first, all false
        where there is no second object; boxes (N, 2, 4) float32 px, (x0, y0, x1, y1); kinds (N, 2) int8, indices into
        `KINDS`, -1 where there is no second object.
    """
    count = len(seeds)
    photos = np.empty((count, *PHOTO_SIZE, 3), np.uint8)
    backgrounds = np.empty_like(photos)
    masks = np.zeros((count, 2, *PHOTO_SIZE), np.bool_)
    boxes = np.zeros((count, 2, 4), np.float32)
    kinds = np.full((count, 2), -1, np.int8)
    for index, seed in enumerate(seeds):
        scene = render_scene(seed, SceneOptions(size=PHOTO_SIZE))
        photos[index], backgrounds[index] = scene.photo, scene.background
        for slot, each in enumerate(scene.objects):
            masks[index, slot], boxes[index, slot] = each.mask, each.box.to_array()
            kinds[index, slot] = KINDS.index(each.kind)
    return {"photo": photos, "background": backgrounds, "masks": masks, "boxes": boxes, "kinds": kinds}


def render_white(seeds: Sequence[int]) -> Mapping[str, Array]:
    """Render objects on white, two views for each seed.

    Returns:
        image (2 N, side, side, 3) uint8, mask (2 N, side, side) bool, and kind (2 N,) int8, index into `KINDS`.
    """
    images, masks, kinds = [], [], []
    for seed in seeds:
        generator = np.random.default_rng([seed, 2])
        scene = render_scene(seed, SceneOptions(size=(64, 64), two_objects=0))
        pair = scene.views(
            side=SIZES.view_side,
            object_share=generator.uniform(0.5, 0.85),
            azimuth=generator.uniform(-90, 90),
            polar=generator.uniform(-10, 10),
        )
        images += [pair.before, pair.after]
        masks += [pair.before_mask, pair.after_mask]
        kinds += [KINDS.index(scene.target.kind)] * 2
    return {"image": np.stack(images), "mask": np.stack(masks), "kind": np.array(kinds, np.int8)}


PHOTOS = DataSet("photos", render_photos, seeds=6000, held_out=500)
WHITE = DataSet("white", render_white, seeds=10000, held_out=250, chunk=500)
