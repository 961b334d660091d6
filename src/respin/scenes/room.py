"""A room: a floor and a wall with patterns, lit unevenly, and the soft shadows of objects on the floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin.scenes.rasterizer import Frame, scan_convert
from respin.scenes.solids import Mesh, bright_colour

TILE = 256
"""Side of a repeating pattern, texels."""

TEXELS = 64.0
"""Texels per unit of length."""

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
        floor_tile: (TILE, TILE, 3) uint8.
        wall_tile: (TILE, TILE, 3) uint8.
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
        """Render the empty room: (H, W, 3) uint8."""
        camera, scale, origin = frame.camera, frame.scale, frame.origin
        height, width = frame.shape
        _, down, forward = camera.axes.astype(np.float32)
        across = ((np.arange(width, dtype=np.float32) + 0.5 - origin[0]) / scale)[None]
        below = ((np.arange(height, dtype=np.float32) + 0.5 - origin[1]) / scale)[:, None]
        # A ray is forward + below * down + across * right; right has no x and no z, down and forward have no y.
        ray_x, ray_z = forward[0] + below * down[0], forward[2] + below * down[2]
        position = camera.position.astype(np.float32)
        sine, cosine = np.float32(np.sin(np.radians(self.yaw))), np.float32(np.cos(np.radians(self.yaw)))
        towards_wall = np.minimum(cosine * ray_x + sine * across, -1e-3)
        to_wall = -(self.wall + cosine * position[0]) / towards_wall
        to_floor = np.where(ray_z < -1e-4, (self.floor - position[2]) / np.minimum(ray_z, -1e-4), np.float32(1e6))
        reached = np.minimum(to_wall, to_floor)
        x, y = position[0] + reached * ray_x, reached * across
        along = cosine * y - sine * x
        is_floor = to_floor < to_wall
        other = np.where(is_floor, cosine * x + sine * y, position[2] + reached * ray_z)
        pixels = _lookup(self.floor_tile, self.wall_tile, is_floor, along, other)
        dimmer = (1 - self.falloff[1] * np.linspace(0, 1, height, dtype=np.float32))[:, None]
        dimmer = dimmer * (1 - self.falloff[0] * np.linspace(0, 1, width, dtype=np.float32))
        return darken(pixels, dimmer)


def shadow_of(mesh: Mesh, floor: float, frame: Frame) -> NDArray[np.float32]:
    """Return the share of the light that remains in the soft shadow of a mesh: (H, W) float32.

    The shadow is that on an endless floor; the wall does not bend it.

    Args:
        mesh: the object, standing on the floor.
        floor: height of the floor.
        frame: the picture area; its sides are multiples of `SHADOW_STRIDE`.
    """
    small = (frame.shape[0] // SHADOW_STRIDE, frame.shape[1] // SHADOW_STRIDE)
    shaded = np.zeros(small, np.bool_)
    heights = mesh.quads[..., 2:] - floor
    fallen = np.concatenate(
        [mesh.quads[..., :2] + heights * np.asarray(SHADOW_SLANT), np.full_like(heights, floor)], -1
    )
    polygons = frame.pixels_of(fallen) / SHADOW_STRIDE
    for polygon in polygons:
        covered = scan_convert(polygon, small)
        if covered is not None:
            rows, columns, inside = covered
            shaded[rows, columns] |= inside
    soft = blur(shaded.astype(np.float32), max(1, small[1] // 64))
    left = 1 - np.float32(SHADOW_DEPTH) * soft
    return left.repeat(SHADOW_STRIDE, axis=0).repeat(SHADOW_STRIDE, axis=1)


def darken(pixels: NDArray[np.uint8], share: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Multiply a picture, (H, W, 3) uint8, by (H, W) shares of 0..1, rounding down in steps of 1/256."""
    darker = pixels.copy()
    rows = np.flatnonzero((share < 1).any(axis=1))
    if len(rows):
        touched = slice(rows[0], rows[-1] + 1)
        levels = (share[touched] * 256).astype(np.uint16)
        darker[touched] = (pixels[touched] * levels[..., None]) >> 8
    return darker


def blur(picture: NDArray[np.float32], radius: int, *, times: int = 3) -> NDArray[np.float32]:
    """Blur (H, W) float32 by box filters of side 2 * radius + 1, three being nearly a Gaussian; borders repeat."""
    for axis in (0, 1) * times:
        padded = np.pad(picture, [(radius + 1, radius) if each == axis else (0, 0) for each in (0, 1)], mode="edge")
        sums = padded.cumsum(axis=axis, dtype=np.float32)
        side = 2 * radius + 1
        later = sums[side:] if axis == 0 else sums[:, side:]
        earlier = sums[:-side] if axis == 0 else sums[:, :-side]
        picture = (later - earlier) / np.float32(side)
    return picture


def pattern(generator: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a random repeating pattern, (TILE, TILE, 3) uint8: plain, striped, chequered, or bricks."""
    colour = bright_colour(generator)
    if generator.random() < 0.6:
        colour = 0.35 * colour + 0.65 * np.array([210.0, 205.0, 200.0])
    shade = _PATTERNS[generator.integers(len(_PATTERNS))](generator)
    grain = blurred_noise(generator, cells=16) * generator.uniform(1, 5)
    grain += generator.normal(0, generator.uniform(0.5, 2), (TILE, TILE))
    lit: NDArray[np.float64] = np.clip(colour * shade[..., None] + grain[..., None], 0, 255)
    return lit.astype(np.uint8)


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
    rows, columns = np.mgrid[:TILE, :TILE]
    columns = columns + rows // height % 2 * (width // 2)
    return np.where((rows % height < joint) | (columns % width < joint), 0.65, 1.0)


_PATTERNS: tuple[Callable[[np.random.Generator], NDArray[np.float64]], ...] = (_plain, _striped, _chequered, _tiled)


def _lookup(
    floor_tile: NDArray[np.uint8],
    wall_tile: NDArray[np.uint8],
    is_floor: NDArray[np.bool_],
    along: NDArray[np.float32],
    other: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Look up the texel at each (along, other), (H, W) in units of length, of the floor or of the wall."""
    texels = np.concatenate([floor_tile.reshape(-1, 3), wall_tile.reshape(-1, 3)])
    index = (along * np.float32(TEXELS)).astype(np.int32) & (TILE - 1)
    index += ((other * np.float32(TEXELS)).astype(np.int32) & (TILE - 1)) * TILE
    index += np.where(is_floor, 0, TILE * TILE).astype(np.int32)
    return np.asarray(texels.take(index, axis=0))
