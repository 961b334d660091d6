"""Projection by a pinhole camera and a z-buffer.

Camera frame: x right, y down, z forward. The camera stands at azimuth 0, which is positive x, and looks at the origin.
Objects turn instead of the camera: a camera that moves right by an angle sees what it would see of an object turned
clockwise by that angle, and the light, fixed to the camera, stays where it was.

Pictures are drawn as a plane per channel, (3, H, W): NumPy's inner loops then run along rows, not over three channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin.scenes.solids import Mesh
from respin.scenes.window import Window

_TO_LIGHT = np.array([-0.45, -0.75, -0.5]) / np.linalg.norm([-0.45, -0.75, -0.5])
"""Unit vector towards the light in the camera frame: the light is above, left of and behind the camera."""

AMBIENT, DIFFUSE = 0.42, 0.62
"""Light that reaches every face, and light that depends on the face's angle (Lambert), as shares of its colour."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at the origin.

    Args:
        elevation: degrees above the horizon.
        distance: distance from the origin.
    """

    elevation: float
    distance: float

    @property
    def position(self) -> NDArray[np.float64]:
        """Position in the world, (3,)."""
        angle = np.radians(self.elevation)
        return self.distance * np.array([np.cos(angle), 0, np.sin(angle)])

    @property
    def axes(self) -> NDArray[np.float64]:
        """Directions right, down and forward in the world, as the rows of a (3, 3) array."""
        angle = np.radians(self.elevation)
        sine, cosine = np.sin(angle), np.cos(angle)
        return np.array([[0, 1, 0], [sine, 0, -cosine], [-cosine, 0, -sine]], np.float64)

    def into_frame(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Transform points of the world, (..., 3), into the camera frame."""
        return (points - self.position) @ self.axes.T


@dataclass(frozen=True)
class Frame:
    """The picture area of a camera: where on the image plane its pixels are.

    Args:
        camera: the camera that takes the picture.
        shape: (H, W) px.
        scale: pixels per unit of the image plane at distance 1, which is the focal length in pixels.
        origin: (x, y) px of the principal point.
    """

    camera: Camera
    shape: tuple[int, int]
    scale: float
    origin: tuple[float, float]

    def pixels_of(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Project points of the world, (..., 3), to pixels, (..., 2) as (x, y)."""
        seen = self.camera.into_frame(points)
        projected: NDArray[np.float64] = seen[..., :2] / seen[..., 2:] * self.scale + np.asarray(self.origin)
        return projected

    def window_of(self, faces: Faces) -> Window:
        """Return the pixels around some faces."""
        low, high = faces.extent * self.scale + np.asarray(self.origin)
        return Window.around(low, high, self.shape)


@dataclass(frozen=True, eq=False)
class Faces:
    """The faces of a mesh that point towards a camera, projected and lit.

    Args:
        corners: (F, 4, 2) float64 on the image plane at distance 1.
        planes: (F, 3) float64; the inverse depth of a face at (x, y) is its plane @ (x, y, 1).
        colours: (F, 3) float64, lit, 0..255.
    """

    corners: NDArray[np.float64]
    planes: NDArray[np.float64]
    colours: NDArray[np.float64]

    @property
    def extent(self) -> NDArray[np.float64]:
        """Smallest and largest (x, y) of all corners, as the rows of a (2, 2) array."""
        flat = self.corners.reshape(-1, 2)
        return np.stack([flat.min(axis=0), flat.max(axis=0)])


def visible_faces(mesh: Mesh, camera: Camera) -> Faces:
    """Project a mesh, drop the faces that point away from the camera, and light the others."""
    corners = camera.into_frame(mesh.quads)
    normals = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    offsets = np.einsum("fc,fc->f", normals, corners[:, 0])
    front = offsets < -1e-6
    corners, normals, offsets = corners[front], normals[front], offsets[front]
    light = AMBIENT + DIFFUSE * np.maximum(0, normals @ _TO_LIGHT)
    colours = np.minimum(mesh.colours[front] * light[:, None], 255)
    return Faces(corners[..., :2] / corners[..., 2:], normals / offsets[:, None], colours)


class Canvas:
    """A picture with a z-buffer.

    Args:
        planes: (3, H, W) uint8, a plane per channel, changed in place.
        scale: pixels per unit of the image plane at distance 1.
        origin: (x, y) px of the principal point.
        window: the part of a larger picture that the planes are; None = a picture of their own.
    """

    def __init__(
        self, planes: NDArray[np.uint8], scale: float, origin: tuple[float, float], window: Window | None = None
    ) -> None:
        self.planes = planes
        self.scale = scale
        self.origin = np.asarray(origin, np.float64)
        self.window = window or Window(0, planes.shape[1], 0, planes.shape[2])
        self._inverse_depth = np.zeros(self.window.shape, np.float32)

    def draw(self, faces: Faces) -> NDArray[np.bool_]:
        """Draw faces, except where something nearer was drawn before.

        Returns:
            (H, W) bool: the pixels that this call changed.
        """
        shows = np.zeros(self.window.shape, np.bool_)
        planes = faces.planes.copy()
        planes[:, :2] /= self.scale
        planes[:, 2] -= planes[:, :2] @ self.origin
        spans = scan_convert(faces.corners * self.scale + self.origin, self.window)
        centre_x = np.arange(self.window.left, self.window.right) + 0.5
        centre_y = np.arange(self.window.top, self.window.bottom) + 0.5
        for (rows, columns, inside), plane, colour in zip(spans.boxes(), planes, faces.colours, strict=True):
            across, down = centre_x[columns] * plane[0] + plane[2], centre_y[rows] * plane[1]
            nearness = (across + down[:, None]).astype(np.float32)
            nearest = inside & (nearness > self._inverse_depth[rows, columns])
            np.copyto(self._inverse_depth[rows, columns], nearness, where=nearest)
            np.copyto(self.planes[:, rows, columns], colour.astype(np.uint8)[:, None, None], where=nearest)
            shows[rows, columns] |= nearest
        return shows


@dataclass(frozen=True, eq=False)
class Spans:
    """The pixels whose centres lie in convex polygons: a range of columns in each row.

    Args:
        width: W px of the window.
        first: (F, H) int32: the first column that a polygon covers in each row of the window.
        stop: (F, H) int32: the column after the last; at most `first` where it covers none.
    """

    width: int
    first: NDArray[np.int32]
    stop: NDArray[np.int32]

    def boxes(self) -> Iterator[tuple[slice, slice, NDArray[np.bool_]]]:
        """Yield for each polygon the rows and columns of a box around its pixels, and which of them it covers."""
        for first, stop in zip(self.first, self.stop, strict=True):
            covered = np.flatnonzero(first < stop)
            if not len(covered):
                yield slice(0, 0), slice(0, 0), np.zeros((0, 0), np.bool_)
                continue
            low, high = covered[0], covered[-1] + 1
            left, right = first[low:high].min(), stop[low:high].max()
            columns = np.arange(left, right, dtype=np.int32)
            inside = (columns >= first[low:high, None]) & (columns < stop[low:high, None])
            yield slice(low, high), slice(left, right), inside

    def union(self) -> NDArray[np.bool_]:
        """Return the pixels that any polygon covers, (H, W)."""
        polygons, rows = np.nonzero(self.first < self.stop)
        # One step up where a span starts and one down where it stops, which may be the column after the last.
        shape = (self.first.shape[1], self.width + 1)
        up, down = (
            np.bincount(rows * shape[1] + ends[polygons, rows], minlength=shape[0] * shape[1]).reshape(shape)
            for ends in (self.first, self.stop)
        )
        covered: NDArray[np.bool_] = (up - down).cumsum(axis=1)[:, :-1] > 0
        return covered


def scan_convert(polygons: NDArray[np.float64], window: Window) -> Spans:
    """Find the pixels whose centres lie in convex polygons.

    A pixel centre on an edge that two polygons share belongs to exactly one of them.

    Args:
        polygons: (F, 3, 2) or (F, 4, 2) px, corners in order.
        window: the part of the picture to convert; the spans count rows and columns from its corner.
    """
    centres = np.arange(window.top, window.bottom) + 0.5
    start, end = polygons, np.roll(polygons, -1, axis=1)
    # From the upper end: the two polygons that share an edge traverse it in opposite directions, and must round alike.
    upper, lower = np.where(start[..., 1:] <= end[..., 1:], (start, end), (end, start))
    rise = lower[..., 1:] - upper[..., 1:]
    share = (centres - upper[..., 1:]) / np.where(rise == 0, 1, rise)
    crossing = upper[..., :1] + share * (lower[..., :1] - upper[..., :1])
    # Half open, so that a row through a corner counts for the edge below it; level edges are never crossed.
    crossed = (centres >= upper[..., 1:]) & (centres < lower[..., 1:])
    first = np.where(crossed, crossing, np.inf).min(axis=1)
    last = np.where(crossed, crossing, -np.inf).max(axis=1)
    # Column c is covered if first <= c + 0.5 < last.
    width = window.shape[1]
    starts, stops = ((np.ceil(ends - 0.5) - window.left).clip(0, width).astype(np.int32) for ends in (first, last))
    return Spans(width, starts, stops)


def downsample(planes: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Average blocks of `factor` x `factor` pixels, rounded to the nearest level, and interleave the channels.

    Args:
        planes: (C, H, W) uint8; H and W are multiples of `factor`.
        factor: at most 16.

    Returns:
        (H / factor, W / factor, C) uint8.
    """
    total = _sum_blocks(planes, factor)
    levels = (total + factor**2 // 2) // factor**2
    pixels = np.empty((*levels.shape[1:], len(levels)), np.uint8)
    # One channel at a time: a single assignment would loop over three elements at a time.
    for channel, plane in enumerate(levels):
        pixels[..., channel] = plane
    return pixels


def majority(mask: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    """Reduce an (H, W) mask to (H / factor, W / factor): true where at least half of the pixels of a block are."""
    reduced = np.zeros((mask.shape[0] // factor, mask.shape[1] // factor), np.bool_)
    blocks = Window.around_mask(mask).to_blocks(factor)
    reduced[blocks.slices] = _sum_blocks(mask[blocks.to_pixels(factor).slices], factor) * 2 >= factor**2
    return reduced


def _sum_blocks(values: NDArray[np.uint8] | NDArray[np.bool_], factor: int) -> NDArray[np.uint16]:
    """Add the values, (..., H, W), of blocks of `factor` x `factor`."""
    rows = values[..., ::factor, :].astype(np.uint16)
    for row in range(1, factor):
        rows += values[..., row::factor, :]
    total = rows[..., ::factor].copy()
    for column in range(1, factor):
        total += rows[..., column::factor]
    return total
