"""Render pairs of views for the novel view's network; like the job's, the input is a cut-out with imperfect edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from respin.scenes import KINDS
from respin.scenes.furniture import make_object
from respin.scenes.rasterizer import Camera, visible_faces
from respin.scenes.room import blur
from respin.scenes.scene import FRONT_DEGREES
from respin.scenes.solids import bright_colour
from respin.scenes.views import draw_on_white
from respin.specs import Array
from respin_export.mini.sizes import SIZES
from respin_export.training.scenes import DataSet

INPUTS, TARGETS = 2, 2
"""Number of input views of an object, and of target views for each."""

MOST_AZIMUTH, MOST_POLAR = 92.0, 12.0
"""Largest camera moves, degrees."""

ELEVATIONS = (4.0, 38.0)
"""Range of the camera's elevation, degrees."""

COVERAGE_SIDE = SIZES.view_side // 8


def render_views(seeds: Sequence[int]) -> Mapping[str, Array]:
    """Render pairs of views.

    Returns:
        input and ragged (N, 2, side, side, 3) uint8: the views to turn, exact and with the faults of a cut-out; target
        (N, 2, 2, side, side, 3) uint8: the target views, at its scale; coverage (N, 2, side / 8, side / 8) and
        target_coverage (N, 2, 2, side / 8, side / 8) uint8, 255 where the object fills the cell; azimuth and polar
        (N, 2, 2) float32, degrees; kind (N,) int8.
    """
    samples = [_render(seed) for seed in seeds]
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def _render(seed: int) -> dict[str, Array]:
    generator = np.random.default_rng([seed, 3])
    kind = int(generator.integers(len(KINDS)))
    mesh = make_object(KINDS[kind], generator)
    camera = Camera(elevation=generator.uniform(8, 30), distance=generator.uniform(4.2, 6.5))
    side = SIZES.view_side
    found: dict[str, list[Array]] = {
        name: [] for name in ("input", "ragged", "coverage", "target", "target_coverage", "azimuth", "polar")
    }
    for _ in range(INPUTS):
        facing = generator.uniform(-FRONT_DEGREES, FRONT_DEGREES)
        faces = visible_faces(mesh.rotate(-facing), camera)
        scale = SIZES.object_share * side / float((faces.extent[1] - faces.extent[0]).max())
        image, mask = draw_on_white(faces, scale, side)
        moves = [_move(camera, generator) for _ in range(TARGETS)]
        turned = [
            draw_on_white(
                visible_faces(mesh.rotate(-facing - azimuth), Camera(camera.elevation - polar, camera.distance)),
                scale,
                side,
            )
            for azimuth, polar in moves
        ]
        found["input"].append(image)
        found["ragged"].append(cut_out(image, mask, generator))
        found["coverage"].append(coverage(mask))
        found["target"].append(np.stack([view for view, _ in turned]))
        found["target_coverage"].append(np.stack([coverage(shown) for _, shown in turned]))
        found["azimuth"].append(np.array([azimuth for azimuth, _ in moves], np.float32))
        found["polar"].append(np.array([polar for _, polar in moves], np.float32))
    return {**{name: np.stack(arrays) for name, arrays in found.items()}, "kind": np.array(kind, np.int8)}


def _move(camera: Camera, generator: np.random.Generator) -> tuple[float, float]:
    """Draw (azimuth, polar); every other move stays at the photo's elevation."""
    azimuth = generator.uniform(-MOST_AZIMUTH, MOST_AZIMUTH)
    if generator.random() < 0.5:
        return azimuth, 0.0
    elevation = np.clip(camera.elevation - generator.uniform(-MOST_POLAR, MOST_POLAR), *ELEVATIONS)
    return azimuth, float(camera.elevation - elevation)


def cut_out(image: Array, mask: Array, generator: np.random.Generator) -> Array:
    """Give a view on white the faults of a cut-out: a ragged edge with some of the room in it, and a crop a bit off.

    Args:
        image: (side, side, 3) uint8 on white.
        mask: (side, side) bool: the object.
        generator: source of randomness.

    Returns:
        (side, side, 3) uint8.
    """
    side = len(mask)
    room = bright_colour(generator) if generator.random() < 0.5 else np.full(3, generator.uniform(120, 230))
    outside = np.where(mask[..., None], image, room.astype(np.uint8))
    soft = blur(mask.astype(np.float32), 1)
    wave = generator.normal(0, generator.uniform(0.02, 0.14), (side // 4, side // 4)).astype(np.float32)
    waves = np.asarray(Image.fromarray(wave).resize((side, side), Image.Resampling.BICUBIC))
    ragged = soft + np.clip(generator.uniform(-0.25, 0.25) + waves, -0.36, 0.36) > 0.5
    opacity = blur(ragged.astype(np.float32), 1) if generator.random() < 0.3 else ragged.astype(np.float32)
    shown = outside * opacity[..., None] + 255 * (1 - opacity[..., None])
    return _shifted(shown.astype(np.uint8), generator.uniform(0.97, 1.03), generator.uniform(-2, 2, 2))


def _shifted(image: Array, scale: float, shift_px: Array) -> Array:
    """Scale an image on white about its middle and shift it."""
    middle = len(image) / 2
    left, top = middle - (middle + shift_px) / scale
    picture = Image.fromarray(image).transform(
        (len(image), len(image)),
        Image.Transform.AFFINE,
        (1 / scale, 0, float(left), 0, 1 / scale, float(top)),
        Image.Resampling.BICUBIC,
        fillcolor=(255, 255, 255),
    )
    return np.asarray(picture)


def coverage(mask: Array) -> Array:
    """Return a mask's share of each 8 x 8 pixels: (side, side) bool to (side / 8, side / 8) uint8, 0..255."""
    cells = len(mask) // COVERAGE_SIDE
    blocks = mask.reshape(COVERAGE_SIDE, cells, COVERAGE_SIDE, cells)
    shares: Array = np.rint(255 * blocks.mean(axis=(1, 3))).astype(np.uint8)
    return shares


VIEWS = DataSet("views", render_views, seeds=24000, held_out=250, chunk=250)
