"""Projection, the z-buffer, and which pixels a polygon covers."""

from __future__ import annotations

import numpy as np
import pytest

from respin.scenes.rasterizer import Camera, Canvas, Frame, downsample, majority, scan_convert, visible_faces
from respin.scenes.solids import box, join
from respin.scenes.views import render_pair
from respin.scenes.window import Window

RED, GREEN, WHITE = np.array([200.0, 0, 0]), np.array([0, 200.0, 0]), np.array([255.0, 255, 255])
CUBE = box((-0.5, 0.5), (-0.5, 0.5), (-0.5, 0.5), WHITE)
RED_ON_THE_RIGHT = join([CUBE, box((-0.4, 0.4), (0.5, 0.55), (-0.4, 0.4), RED)])
"""A cube that faces the camera, with a red panel on the side at the camera's right."""

# ---------- projection ----------


@pytest.mark.parametrize(
    ("elevation", "point", "right", "down", "depth"),
    [
        (0, (0, 0, 0), 0, 0, 4),
        (0, (0, 1, 0), 1, 0, 4),
        (0, (0, 0, 1), 0, -1, 4),
        (0, (2, 1, 1), 1, -1, 2),
        (90, (1, 0.5, 0), 0.5, 1, 4),
        (90, (0, 0, 3), 0, 0, 1),
        (30, (0, 0, 1), 0, -np.cos(np.pi / 6), 3.5),
    ],
)
def test_a_point_is_projected_by_the_pinhole_formula(elevation, point, right, down, depth):
    frame = Frame(Camera(elevation, distance=4.0), (100, 200), scale=300.0, origin=(110.0, 40.0))
    wanted = 110 + 300 * right / depth, 40 + 300 * down / depth
    np.testing.assert_allclose(frame.pixels_of(np.array(point, np.float64)), wanted)


def test_a_camera_that_moves_right_sees_the_object_turned_the_other_way():
    elevation, azimuth, distance = np.radians(20), np.radians(35), 5.0
    position = distance * np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    )
    forward = -position / distance
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0])
    seen = (CUBE.corners - position) @ np.stack([right, np.cross(forward, right), forward]).T
    wanted = 100 * seen[:, :2] / seen[:, 2:]
    frame = Frame(Camera(20, distance), (10, 10), scale=100.0, origin=(0.0, 0.0))
    np.testing.assert_allclose(frame.pixels_of(CUBE.rotate(-35).corners), wanted, atol=1e-9)
    assert np.abs(frame.pixels_of(CUBE.rotate(35).corners) - wanted).max() > 1


@pytest.mark.parametrize(("azimuth", "sees_red"), [(60, True), (-60, False)])
def test_a_view_from_the_right_shows_the_right_side(azimuth, sees_red):
    pair = render_pair(RED_ON_THE_RIGHT, Camera(10, 5.0), 0.0, azimuth=azimuth, polar=0.0, side=48, object_share=0.7)
    red = (pair.after[..., 0].astype(int) - pair.after[..., 1]) > 60
    assert red.any() == sees_red


def test_a_camera_that_moves_down_sees_less_of_the_top():
    slab = box((-1, 1), (-1, 1), (0, 0.05), RED)

    def height_after(polar: float) -> int:
        pair = render_pair(slab, Camera(30, 6.0), 0.0, azimuth=0.0, polar=polar, side=96, object_share=0.8)
        return int(pair.after_mask.any(axis=1).sum())

    assert height_after(20) < height_after(0) < height_after(-20)


def test_the_first_view_has_the_asked_size_and_the_second_its_scale():
    pair = render_pair(CUBE, Camera(0, 5.0), 0.0, azimuth=45.0, polar=0.0, side=120, object_share=0.5)
    rows, columns = np.nonzero(pair.before_mask)
    assert np.ptp(columns) + 1 == pytest.approx(60, abs=1)
    # Seen over its edge, a cube is the square root of two wider; perspective makes that a little less.
    assert 60 * 1.2 < np.ptp(np.nonzero(pair.after_mask)[1]) + 1 < 60 * 1.42
    assert columns.mean() == pytest.approx(59.5, abs=1)
    assert rows.mean() == pytest.approx(59.5, abs=1)


def test_the_light_stays_with_the_camera():
    same, other = (
        render_pair(CUBE, Camera(20, 5.0), 25.0, azimuth=azimuth, polar=0.0, side=48, object_share=0.7)
        for azimuth in (90.0, 45.0)
    )
    assert np.abs(same.after.astype(int) - same.before).max() <= 1
    assert np.abs(other.after.astype(int) - other.before).max() > 20


def test_the_light_comes_from_above_on_the_left():
    lit = {}
    for turn in (20, -20):
        faces = visible_faces(CUBE.rotate(turn), Camera(20, 5.0))
        middles = faces.corners.mean(axis=1)
        lit[turn] = {name: faces.colours[middles[:, axis].argmin(), 0] for name, axis in (("left", 0), ("top", 1))}
        lit[turn]["right"] = faces.colours[middles[:, 0].argmax(), 0]
    assert all(each["top"] > each["right"] and each["left"] > each["right"] for each in lit.values())


def test_faces_that_point_away_are_dropped():
    faces = visible_faces(CUBE, Camera(20, 5.0))
    assert len(faces.colours) == 2  # front and top
    assert len(visible_faces(CUBE.rotate(30), Camera(20, 5.0)).colours) == 3


# ---------- drawing ----------


@pytest.mark.parametrize("near_first", [True, False])
def test_what_is_nearer_hides_what_is_farther(near_first):
    camera = Camera(0, 5.0)
    near = visible_faces(box((1, 1.1), (-0.2, 0.2), (-0.2, 0.2), RED), camera)
    far = visible_faces(box((-1, -0.9), (-1, 1), (-1, 1), GREEN), camera)
    canvas = Canvas(np.zeros((3, 64, 64), np.uint8), scale=100.0, origin=(32.0, 32.0))
    drawn = {name: canvas.draw(faces) for name, faces in (("near", near), ("far", far))[:: 1 if near_first else -1]}
    assert canvas.planes[0, 32, 32] > 0
    assert canvas.planes[1, 32, 32] == 0
    assert canvas.planes[1, 32, 18] > 0
    assert drawn["near"][32, 32]
    assert drawn["far"][32, 18]
    assert drawn["far"][32, 32] != near_first


def test_a_polygon_covers_the_pixels_whose_centres_lie_in_it():
    generator = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(40) + 0.5, np.arange(30) + 0.5)
    for _ in range(200):
        angles = np.sort(generator.uniform(0, 2 * np.pi, 4))
        radii = generator.uniform(1, 30, 2)
        corners = generator.uniform((0, 0), (40, 30)) + np.stack([np.cos(angles), np.sin(angles)], 1) * radii
        sides = np.roll(corners, -1, axis=0) - corners
        # Positive on the inner side of every edge: the corners run clockwise on the screen.
        inside = np.all(
            [dx * (y - cy) - dy * (x - cx) > 0 for (cx, cy), (dx, dy) in zip(corners, sides, strict=True)], axis=0
        )
        np.testing.assert_array_equal(painted(corners, (30, 40)), inside)


@pytest.mark.parametrize("step", [0.5, 3.0, 7.0])
def test_an_edge_that_two_polygons_share_belongs_to_exactly_one(step):
    generator = np.random.default_rng(1)
    rows, columns = 6, 8
    # Corners lie on pixel centres, and so do many points of the edges.
    corners = np.stack(np.meshgrid(np.arange(columns) * 21.0, np.arange(rows) * 21.0), axis=-1) + 0.5
    corners[1:-1, 1:-1] += np.round(generator.uniform(-7, 7, (rows - 2, columns - 2, 2)) / step) * step
    count = np.zeros((100, 140), int)
    for row in range(rows - 1):
        for column in range(columns - 1):
            a, b = corners[row, column], corners[row, column + 1]
            c, d = corners[row + 1, column + 1], corners[row + 1, column]
            count += painted(np.stack([a, b, c]), count.shape)
            count += painted(np.stack([a, c, d]), count.shape)
    np.testing.assert_array_equal(count[10:, 10:], 1)


def test_a_polygon_outside_the_picture_covers_nothing():
    square = np.array([(0, 0), (5, 0), (5, 5), (0, 5)], np.float64)
    assert not painted(square + 100, (20, 20)).any()
    assert not painted(square - 100, (20, 20)).any()
    assert painted(square - 2, (20, 20)).sum() == 9


def test_a_window_shows_the_part_of_the_picture_that_it_cuts_out():
    faces = visible_faces(RED_ON_THE_RIGHT.rotate(-35), Camera(20, 4.0))
    whole = Canvas(np.zeros((3, 90, 120), np.uint8), scale=180.3, origin=(57.4, 43.2))
    mask = whole.draw(faces)
    for window in (Window(20, 60, 30, 71), Window(0, 90, 0, 50), Window(0, 4, 0, 120)):
        part = Canvas(np.zeros((3, *window.shape), np.uint8), whole.scale, (57.4, 43.2), window)
        np.testing.assert_array_equal(part.draw(faces), window.crop(mask))
        np.testing.assert_array_equal(part.planes, window.crop(whole.planes))


def test_shrinking_averages_blocks():
    pixels = np.array([[0, 1, 255, 255], [1, 1, 255, 255]], np.uint8)
    np.testing.assert_array_equal(downsample(pixels[None], 2)[..., 0], [[1, 255]])  # 0.75 is nearer to 1
    planes = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    np.testing.assert_array_equal(downsample(planes, 3)[0, 0], planes.reshape(3, 9).mean(axis=1))


def test_a_shrunk_mask_is_true_where_half_of_a_block_is():
    mask = np.zeros((6, 8), np.bool_)
    mask[2, 2:5] = True
    np.testing.assert_array_equal(np.argwhere(majority(mask, 2)), [(1, 1)])
    assert not majority(mask & False, 2).any()


def painted(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels that a polygon covers, as a whole picture."""
    spans = scan_convert(polygon[None], Window(0, shape[0], 0, shape[1]))
    picture = np.zeros(shape, bool)
    for rows, columns, inside in spans.boxes():
        picture[rows, columns] = inside
    np.testing.assert_array_equal(spans.union(), picture)
    return picture
