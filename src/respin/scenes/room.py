"""A room: a floor and a wall with patterns, lit unevenly, and the soft shadows of objects on the floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin.scenes.rasterizer import Frame, scan_convert
from respin.scenes.solids import Mesh, bright_colour
from respin.scenes.window import Window

TILE = 256
"""Side of a repeating pattern, texels."""

TEXELS = 64.0
"""Texels per unit of length."""

BAND = 32
"""Rendered rows that are computed at once: the temporary arrays of more would not fit the processor's cache."""

SHADOW_STRIDE = 4
"""Rendered pixels per pixel of the shadow map, along each axis."""

SHADOW_DEPTH = 0.45
"""Share of the light that a full shadow removes."""

SHADOW_SLANT = (-0.25, 0.35)
"""Offset of a shadow in (x, y) per unit of height: the light comes from the front left."""


@dataclass(frozen=True, eq=False)
class Room:
    """A floor at a height, and a wall behind it.

    Args:
        floor: height of the floor.
        wall: distance of the wall from the origin, away from the camera.
        yaw: angle of the wall to the image plane, degrees.
        floor_tile: (3, TILE, TILE) uint8.
        wall_tile: (3, TILE, TILE) uint8.
        falloff: shares of the light that the right and the lower border lack.
    """

    floor: float
    wall: float
    yaw: float
    floor_tile: NDArray[np.uint8]
    wall_tile: NDArray[np.uint8]
    falloff: tuple[float, float]

    @classmethod
    def draw(cls, floor: float, generator: np.random.Generator) -> Room:
        """Draw a random room with its floor at the given height."""
        uniform = generator.uniform
        return cls(
            floor=floor,
            wall=uniform(1.4, 2.6),
            yaw=uniform(-28, 28),
            floor_tile=pattern(generator),
            wall_tile=pattern(generator),
            falloff=(uniform(0, 0.2), uniform(0, 0.25)),
        )

    def photograph(self, frame: Frame) -> NDArray[np.uint8]:
        """Render the empty room: (3, H, W) uint8."""
        height, width = frame.shape
        rays = _Rays.through_pixels(frame)
        texels = np.concatenate([self.floor_tile.reshape(3, -1), self.wall_tile.reshape(3, -1)], axis=1)
        down = 1 - self.falloff[1] * np.linspace(0, 1, height, dtype=np.float32)
        across = 1 - self.falloff[0] * np.linspace(0, 1, width, dtype=np.float32)
        planes = np.empty((3, height, width), np.uint8)
        for top in range(0, height, BAND):
            rows = slice(top, min(top + BAND, height))
            seen = texels.take(self._texels(rays.of_rows(rows)).astype(np.intp), axis=1)
            planes[:, rows] = darken(seen, levels_of(down[rows, None] * across))
        return planes

    def _texels(self, rays: _Rays) -> NDArray[np.int32]:
        """Return the texel that each ray, (H, W), reaches: an index into those of the floor followed by the wall's."""
        _, _, start_z = rays.start
        to_floor = np.where(rays.z < -1e-4, (self.floor - start_z) / np.minimum(rays.z, -1e-4), np.float32(1e6))
        # The distance to the wall rises or falls all along a row, so the ends of the rows show whether both are seen.
        ends = to_floor < self._to_wall(rays, rays.y[:, [0, -1]])
        if ends.all():
            return self._texels_of_floor(rays, to_floor)
        to_wall = self._to_wall(rays, rays.y)
        of_wall = self._texels_of_wall(rays, to_wall) + TILE * TILE
        return np.where(to_floor < to_wall, self._texels_of_floor(rays, to_floor), of_wall) if ends.any() else of_wall

    def _to_wall(self, rays: _Rays, y: NDArray[np.float32]) -> NDArray[np.float32]:
        sine, cosine = self._axis
        towards_wall = np.minimum(cosine * rays.x + sine * y, -1e-3)
        distance: NDArray[np.float32] = -(self.wall + cosine * rays.start[0]) / towards_wall
        return distance

    def _texels_of_floor(self, rays: _Rays, distance: NDArray[np.float32]) -> NDArray[np.int32]:
        sine, cosine = self._axis
        x, y, _ = rays.at(distance)
        return _texels_at(cosine * y - sine * x, cosine * x + sine * y)

    def _texels_of_wall(self, rays: _Rays, distance: NDArray[np.float32]) -> NDArray[np.int32]:
        sine, cosine = self._axis
        x, y, z = rays.at(distance)
        return _texels_at(cosine * y - sine * x, z)

    @property
    def _axis(self) -> tuple[np.float32, np.float32]:
        """Sine and cosine of the yaw."""
        return np.float32(np.sin(np.radians(self.yaw))), np.float32(np.cos(np.radians(self.yaw)))


@dataclass(frozen=True, eq=False)
class _Rays:
    """Rays from a camera through the pixels of a picture, (H, W).

    Args:
        start: (3,) float32, where they start.
        x: (H, 1) float32, the direction: x and z are the same for all pixels of a row, y for those of a column.
        y: (1, W) float32.
        z: (H, 1) float32.
    """

    start: NDArray[np.float32]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    z: NDArray[np.float32]

    @classmethod
    def through_pixels(cls, frame: Frame) -> _Rays:
        camera, scale, origin = frame.camera, frame.scale, frame.origin
        height, width = frame.shape
        _, down, forward = camera.axes.astype(np.float32)
        across = ((np.arange(width, dtype=np.float32) + 0.5 - origin[0]) / scale)[None]
        below = ((np.arange(height, dtype=np.float32) + 0.5 - origin[1]) / scale)[:, None]
        # A ray is forward + below * down + across * right; right has no x and no z, down and forward have no y.
        x, z = forward[0] + below * down[0], forward[2] + below * down[2]
        return cls(camera.position.astype(np.float32), x, across, z)

    def of_rows(self, rows: slice) -> _Rays:
        return _Rays(self.start, self.x[rows], self.y, self.z[rows])

    def at(self, distance: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the (x, y, z) that the rays reach at a distance, each broadcast against it."""
        return self.start[0] + distance * self.x, distance * self.y, self.start[2] + distance * self.z


def _texels_at(along: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the index of the texel of a repeating tile at each (along, other), (H, W) in units of length."""
    column = (along * np.float32(TEXELS)).astype(np.int32) & (TILE - 1)
    row = (other * np.float32(TEXELS)).astype(np.int32) & (TILE - 1)
    return row * TILE + column


@dataclass(frozen=True, eq=False)
class Shadow:
    """The soft shadow of an object in a picture.

    Args:
        window: the pixels that it may darken.
        levels: (H, W) uint16 for the window: the share of the light that remains, in steps of 1/256.
    """

    window: Window
    levels: NDArray[np.uint16]

    def fall_on(self, planes: NDArray[np.uint8], part: Window | None = None) -> None:
        """Darken a picture in place.

        Args:
            planes: (3, H, W) uint8.
            part: the part of the picture that the planes are; None = all of it.
        """
        box = (self.window.relative_to(part) if part else self.window).crop(planes)
        box[:] = darken(box, self.levels)


def shadow_of(mesh: Mesh, floor: float, frame: Frame) -> Shadow:
    """Return the soft shadow of a mesh.

    The shadow is that on an endless floor; the wall does not bend it.

    Args:
        mesh: the object, standing on the floor.
        floor: height of the floor.
        frame: the picture area; its sides are multiples of `SHADOW_STRIDE`.
    """
    small = (frame.shape[0] // SHADOW_STRIDE, frame.shape[1] // SHADOW_STRIDE)
    heights = mesh.quads[..., 2:] - floor
    fallen = np.concatenate(
        [mesh.quads[..., :2] + heights * np.asarray(SHADOW_SLANT), np.full_like(heights, floor)], -1
    )
    fallen = frame.pixels_of(fallen) / SHADOW_STRIDE
    reached = Window.around(fallen.min(axis=(0, 1)), fallen.max(axis=(0, 1)), small)
    radius, times = max(1, small[1] // 64), 3
    window = reached.widen(radius * times, small)
    shaded = scan_convert(fallen, window).union()
    levels = levels_of(1 - np.float32(SHADOW_DEPTH) * blur(shaded.astype(np.float32), radius, times=times))
    return Shadow(window.to_pixels(SHADOW_STRIDE), levels.repeat(SHADOW_STRIDE, axis=0).repeat(SHADOW_STRIDE, axis=1))


def levels_of(share: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Convert shares of the light, 0..1, to steps of 1/256, rounding down."""
    return (share * 256).astype(np.uint16)


def darken(planes: NDArray[np.uint8], levels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Multiply a picture, (3, H, W) uint8, by (H, W) steps of 1/256, rounding down."""
    return ((planes * levels) >> 8).astype(np.uint8)


def blur(picture: NDArray[np.float32], radius: int, *, times: int = 3) -> NDArray[np.float32]:
    """Blur (H, W) float32 by box filters of side 2 * radius + 1, three being nearly a Gaussian; borders repeat."""
    for axis in (0, 1) * times:
        length, side = picture.shape[axis], 2 * radius + 1
        padded = picture.take(np.arange(-radius - 1, length + radius).clip(0, length - 1), axis=axis)
        sums = padded.cumsum(axis=axis, dtype=np.float32)
        later = sums[side:] if axis == 0 else sums[:, side:]
        earlier = sums[:-side] if axis == 0 else sums[:, :-side]
        picture = (later - earlier) / np.float32(side)
    return picture


def pattern(generator: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a random repeating pattern, (3, TILE, TILE) uint8: plain, striped, chequered, or bricks."""
    colour = bright_colour(generator)
    if generator.random() < 0.6:
        colour = 0.35 * colour + 0.65 * np.array([210.0, 205.0, 200.0])
    shade = _PATTERNS[generator.integers(len(_PATTERNS))](generator)
    grain = blurred_noise(generator, cells=16) * generator.uniform(1, 5)
    grain += generator.normal(0, generator.uniform(0.5, 2), (TILE, TILE))
    lit: NDArray[np.float64] = colour[:, None, None] * shade
    lit += grain
    return lit.clip(0, 255, out=lit).astype(np.uint8)


def blurred_noise(generator: np.random.Generator, cells: int) -> NDArray[np.float64]:
    """Draw smooth repeating noise, (TILE, TILE): `cells` x `cells` values of unit variance, interpolated."""
    values = generator.normal(0, 1, (cells, cells))
    at = np.arange(TILE) * cells / TILE
    first = at.astype(int)
    share = (1 - np.cos((at - first) * np.pi)) / 2
    rows = values[first] * (1 - share[:, None]) + values[(first + 1) % cells] * share[:, None]
    smooth: NDArray[np.float64] = rows[:, first] * (1 - share) + rows[:, (first + 1) % cells] * share
    return smooth


def _plain(generator: np.random.Generator) -> NDArray[np.float64]:
    return np.ones((TILE, TILE))


def _striped(generator: np.random.Generator) -> NDArray[np.float64]:
    width = TILE // int(generator.choice([4, 8, 12]))
    dark = np.arange(TILE) // width % 2 == 0
    shade = np.where(dark, generator.uniform(0.6, 0.85), 1.0)
    return np.broadcast_to(shade if generator.random() < 0.5 else shade[:, None], (TILE, TILE)).copy()


def _chequered(generator: np.random.Generator) -> NDArray[np.float64]:
    width = TILE // int(generator.choice([4, 6, 8]))
    dark = np.arange(TILE) // width % 2
    return np.where(dark[:, None] == dark, generator.uniform(0.55, 0.85), 1.0)


def _tiled(generator: np.random.Generator) -> NDArray[np.float64]:
    height = TILE // int(generator.choice([4, 8]))
    joint, width = 4, 2 * height
    rows, columns = np.ogrid[:TILE, :TILE]
    columns = columns + rows // height % 2 * (width // 2)
    return np.where((rows % height < joint) | (columns % width < joint), 0.65, 1.0)


_PATTERNS: tuple[Callable[[np.random.Generator], NDArray[np.float64]], ...] = (_plain, _striped, _chequered, _tiled)
