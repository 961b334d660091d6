"""Rendered scenes: what the photo shows is what the ground truth says."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from respin.scenes import HELD_OUT_SEEDS, KINDS, TRAINING_SEEDS, Scene, SceneOptions, render_scene
from respin.scenes.furniture import make_object
from respin.scenes.rasterizer import visible_faces

SIZE = (192, 256)
ONE = SceneOptions(SIZE, two_objects=0.0)
TWO = SceneOptions(SIZE, two_objects=1.0)
SEEDS = HELD_OUT_SEEDS[:12]


@pytest.fixture(scope="module")
def alone() -> list[Scene]:
    """Scenes of one object."""
    return [render_scene(seed, ONE) for seed in SEEDS]


@pytest.fixture(scope="module")
def beside() -> list[Scene]:
    """Scenes of two objects."""
    return [render_scene(seed, TWO) for seed in SEEDS]


# ---------- the object ----------


def test_the_mask_holds_the_colours_of_the_object(alone):
    for scene in alone:
        inner = ~grown(~scene.target.mask, 1)
        # What averages several faces lies between their colours.
        assert share_of_colours(scene.photo[inner], scene, -scene.facing) == 1
        missed = np.roll(inner, SIZE[1] // 4, axis=1)
        assert share_of_colours(scene.photo[missed], scene, -scene.facing) < 0.9


def test_the_turned_mask_holds_the_colours_of_the_turned_object(alone):
    for scene in alone:
        inner = ~grown(~scene.turned_mask, 1)
        assert share_of_colours(scene.turned[inner], scene, -scene.facing - scene.azimuth) == 1
        assert (scene.turned_mask != scene.target.mask).any()
        assert (scene.turned[scene.turned_mask] != scene.background[scene.turned_mask]).any()


def test_the_box_of_an_object_is_that_of_its_mask(alone, beside):
    for scene in [*alone, *beside]:
        for shown in scene.objects:
            rows, columns = np.nonzero(shown.mask)
            wanted = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            np.testing.assert_array_equal(shown.box.to_array(), wanted)


def test_the_photo_shows_the_whole_object_as_its_views_do(alone, beside):
    for scene in [*alone, *beside]:
        views = scene.views(side=160, object_share=0.7)
        for in_photo, on_white in ((scene.target.mask, views.before_mask), (scene.turned_mask, views.after_mask)):
            # Were it hidden in part, cut off by the border or turned the other way, its outline would differ.
            assert outline_of(in_photo) == pytest.approx(outline_of(on_white), rel=0.06)
            assert not in_photo[[0, -1]].any()
            assert not in_photo[:, [0, -1]].any()


def test_the_outline_depends_on_the_side_the_camera_moves_to(alone):
    parting = 0
    for scene in alone:
        other = scene.views(side=160, object_share=0.7, azimuth=-scene.azimuth).after_mask
        parting += outline_of(scene.turned_mask) != pytest.approx(outline_of(other), rel=0.06)
    assert parting > len(alone) / 2


# ---------- the background ----------


def test_beside_the_object_only_its_shadow_tells_photo_and_background_apart(alone, beside):
    for scene in [*alone, *beside]:
        for photo, mask in ((scene.photo, scene.target.mask), (scene.turned, scene.turned_mask)):
            elsewhere = ~grown(mask, 1)
            darker = scene.background.astype(int) - photo
            assert darker[elsewhere].min() >= 0
            assert darker[elsewhere].max() > 10
            # The light is kept in steps of 1/256: far from the shadow a level may be lost.
            assert darker[: SIZE[0] // 5].max() <= 1


def test_the_background_keeps_the_second_object(beside):
    for scene in beside:
        inner = ~grown(~scene.objects[1].mask, 1)
        np.testing.assert_array_equal(scene.background[inner], scene.photo[inner])


# ---------- two objects ----------


def test_two_objects_are_of_two_kinds_and_share_no_pixel(beside):
    for scene in beside:
        first, second = scene.objects
        assert first.kind != second.kind
        assert not (first.mask & second.mask).any()
        assert first.mask.sum() > 400
        assert second.mask.sum() > 100


def test_the_options_decide_how_many_objects_of_which_kinds_are_turned_how_far(alone):
    assert {len(scene.objects) for scene in alone} == {1}
    assert {scene.photo.shape for scene in alone} == {(*SIZE, 3)}
    small = [render_scene(seed, SceneOptions((96, 128), ("sofa", "lamp"), 30.0)) for seed in range(40)]
    assert {each.kind for scene in small for each in scene.objects} == {"sofa", "lamp"}
    assert {len(scene.objects) for scene in small} == {1, 2}
    assert all(15 <= abs(scene.azimuth) <= 30 for scene in small)
    assert {np.sign(scene.azimuth) for scene in small} == {-1, 1}


def test_every_kind_occurs():
    assert {render_scene(seed, SceneOptions((48, 64))).target.kind for seed in range(40)} == set(KINDS)


# ---------- seeds ----------


def test_a_seed_gives_the_same_pixels_in_every_process():
    program = (
        "import hashlib; from respin.scenes import *; "
        f"s = render_scene({SEEDS[0]}, SceneOptions({SIZE}, two_objects=0.0)); "
        "print(hashlib.sha256(s.photo.tobytes() + s.turned.tobytes() + s.background.tobytes()).hexdigest())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == digest(render_scene(SEEDS[0], ONE)) == digest(render_scene(SEEDS[0], ONE))
    assert digest(render_scene(SEEDS[1], ONE)) != digest(render_scene(SEEDS[0], ONE))


def test_no_held_out_object_is_one_of_the_training_scenes(alone):
    assert not set(TRAINING_SEEDS) & set(HELD_OUT_SEEDS)
    assert {scene.seed for scene in alone} <= set(HELD_OUT_SEEDS)
    trained = [render_scene(seed, SceneOptions((48, 64), two_objects=0.0)) for seed in TRAINING_SEEDS[:60]]
    meshes = [scene.mesh.quads.tobytes() for scene in [*trained, *alone]]
    assert len(set(meshes)) == len(meshes)


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_fills_the_unit_sphere(kind):
    corners = make_object(kind, np.random.default_rng(3)).corners
    low, high = corners.min(axis=0), corners.max(axis=0)
    np.testing.assert_allclose(low, -high, atol=1e-9)
    assert np.linalg.norm(high - low) == pytest.approx(2)


# ---------- what the tests measure with ----------


def share_of_colours(pixels: np.ndarray, scene: Scene, turn: float) -> float:
    """The share of pixels, (N, 3), that lie between the colours of the object's visible faces."""
    colours = visible_faces(scene.mesh.rotate(turn), scene.camera).colours
    low, high = np.floor(colours.min(axis=0)), np.ceil(colours.max(axis=0))
    return float(np.mean(np.all((pixels >= low) & (pixels <= high), axis=-1)))


def outline_of(mask: np.ndarray) -> tuple[float, float]:
    """Width over height of a mask's box, and the share of the box that it fills."""
    rows, columns = np.nonzero(mask)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    return width / height, len(rows) / (height * width)


def grown(mask: np.ndarray, by: int) -> np.ndarray:
    """A mask grown by some pixels each way."""
    out = mask.copy()
    for axis in (0, 1):
        out = np.any([np.roll(out, step, axis) for step in range(-by, by + 1)], axis=0)
    return out


def digest(scene: Scene) -> str:
    return hashlib.sha256(scene.photo.tobytes() + scene.turned.tobytes() + scene.background.tobytes()).hexdigest()
