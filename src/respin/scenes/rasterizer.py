"""Projection by a pinhole camera and a z-buffer.

Camera frame: x right, y down, z forward. The camera stands at azimuth 0, which is positive x, and looks at the origin.
Objects turn instead of the camera: a camera that moves right by an angle sees what it would see of an object turned
clockwise by that angle, and the light, fixed to the camera, stays where it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin.scenes.solids import Mesh

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


_NEXT = {corners: np.roll(np.arange(corners), -1) for corners in (3, 4)}
"""Index of each corner's successor, by the number of corners."""


class Canvas:
    """A picture with a z-buffer.

    Args:
        pixels: (H, W, 3) uint8, changed in place.
        scale: pixels per unit of the image plane at distance 1.
        origin: (x, y) px of the principal point.
    """

    def __init__(self, pixels: NDArray[np.uint8], scale: float, origin: tuple[float, float]) -> None:
        self.pixels = pixels
        self.scale = scale
        self.origin = np.asarray(origin, np.float64)
        self._shape = (pixels.shape[0], pixels.shape[1])
        self._inverse_depth = np.zeros(self._shape, np.float32)

    def draw(self, faces: Faces) -> NDArray[np.bool_]:
        """Draw faces, except where something nearer was drawn before.

        Returns:
            (H, W) bool: the pixels that this call changed.
        """
        shows = np.zeros(self._shape, np.bool_)
        corners = faces.corners * self.scale + self.origin
        planes = faces.planes.copy()
        planes[:, :2] /= self.scale
        planes[:, 2] -= planes[:, :2] @ self.origin
        for polygon, plane, colour in zip(corners, planes, faces.colours, strict=True):
            covered = scan_convert(polygon, self._shape)
            if covered is None:
                continue
            rows, columns, inside = covered
            across = (np.arange(columns.start, columns.stop) + 0.5) * plane[0] + plane[2]
            down = (np.arange(rows.start, rows.stop) + 0.5) * plane[1]
            nearness = (across[None] + down[:, None]).astype(np.float32)
            nearest = inside & (nearness > self._inverse_depth[rows, columns])
            self._inverse_depth[rows, columns][nearest] = nearness[nearest]
            self.pixels[rows, columns][nearest] = colour.astype(np.uint8)
            shows[rows, columns] |= nearest
        return shows


def scan_convert(polygon: NDArray[np.float64], shape: tuple[int, int]) -> tuple[slice, slice, NDArray[np.bool_]] | None:
    """Find the pixels whose centres lie in a convex polygon.

    Args:
        polygon: (3, 2) or (4, 2) px, corners in order.
        shape: (H, W) of the picture.

    Returns:
        The rows and columns of the bounding box, and (rows, columns) bool; None if the box misses the picture. A pixel
        centre on an edge that two polygons share belongs to exactly one of them.
    """
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    top, bottom = max(int(low[1]), 0), min(int(high[1]) + 1, shape[0])
    left, right = max(int(low[0]), 0), min(int(high[0]) + 1, shape[1])
    if bottom <= top or right <= left:
        return None
    centres = np.arange(top, bottom) + 0.5
    start, end = polygon, polygon[_NEXT[len(polygon)]]
    # From the upper end: the two polygons that share an edge traverse it in opposite directions, and must round alike.
    upper, lower = np.where(start[:, 1:] <= end[:, 1:], (start, end), (end, start))
    rise = lower[:, 1:] - upper[:, 1:]
    share = (centres - upper[:, 1:]) / np.where(rise == 0, 1, rise)
    crossing = upper[:, :1] + share * (lower[:, :1] - upper[:, :1])
    # Half open, so that a row through a corner counts for the edge below it; level edges are never crossed.
    crossed = (centres >= upper[:, 1:]) & (centres < lower[:, 1:])
    first = np.where(crossed, crossing, np.inf).min(axis=0)
    last = np.where(crossed, crossing, -np.inf).max(axis=0)
    across = np.arange(left, right) + 0.5
    inside = (across[None] >= first[:, None]) & (across[None] < last[:, None])
    return slice(top, bottom), slice(left, right), inside


def downsample(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Average blocks of `factor` x `factor` pixels, rounded to the nearest level.

    Args:
        pixels: (H, W) or (H, W, 3) uint8; H and W are multiples of `factor`.
        factor: at most 16.

    Returns:
        (H / factor, W / factor) or (H / factor, W / factor, 3) uint8.
    """
    total = np.zeros((pixels.shape[0] // factor, pixels.shape[1] // factor, *pixels.shape[2:]), np.uint16)
    for row in range(factor):
        for column in range(factor):
            total += pixels[row::factor, column::factor]
    return ((total + factor**2 // 2) // factor**2).astype(np.uint8)
