"""Solids made of flat quadrilaterals.

Object frame: x to the front of the object, y to its left seen from behind, z up; lengths in arbitrary units.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float64]
"""(3,) RGB, 0..255."""

_BOX_FACES = np.array([(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)])
"""Corners of each face of a box; corner 4 * iz + 2 * iy + ix. Outer faces run counter-clockwise seen from outside."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface of opaque quadrilaterals, each visible from outside only.

    Args:
        quads: (F, 4, 3) float64, the corners of each face in order; a triangle repeats a corner.
        colours: (F, 3) float64, RGB 0..255.
    """

    quads: NDArray[np.float64]
    colours: NDArray[np.float64]

    def rotate(self, degrees: float) -> Mesh:
        """Return the mesh turned about the z axis, counter-clockwise seen from above."""
        return Mesh(self.quads @ _rotation_about_z(degrees).T, self.colours)

    def translate(self, offset: Sequence[float]) -> Mesh:
        """Return the mesh moved by (x, y, z)."""
        return Mesh(self.quads + np.asarray(offset), self.colours)

    def scale(self, factor: float) -> Mesh:
        """Return the mesh scaled about the origin."""
        return Mesh(self.quads * factor, self.colours)

    @property
    def corners(self) -> NDArray[np.float64]:
        """Every corner of every face, (4 F, 3)."""
        return self.quads.reshape(-1, 3)


def join(meshes: Sequence[Mesh]) -> Mesh:
    """Join meshes into one."""
    return Mesh(np.concatenate([mesh.quads for mesh in meshes]), np.concatenate([mesh.colours for mesh in meshes]))


def box(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], colour: Colour) -> Mesh:
    """Make a box from its extent along each axis."""
    corners = np.array([(cx, cy, cz) for cz in z for cy in y for cx in x], np.float64)
    return Mesh(corners[_BOX_FACES], np.tile(colour, (len(_BOX_FACES), 1)))


def frustum(
    centre: tuple[float, float], z: tuple[float, float], radii: tuple[float, float], colour: Colour, *, sides: int = 14
) -> Mesh:
    """Make an upright cylinder or cone.

    Args:
        centre: (x, y) of its axis.
        z: heights of the lower and the upper end.
        radii: radii at the lower and the upper end.
        colour: colour of all faces.
        sides: an even number of side faces.
    """
    angles = np.arange(sides) * 2 * np.pi / sides
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rings = [
        np.concatenate([np.asarray(centre) + radius * circle, np.full((sides, 1), height)], axis=1)
        for radius, height in zip(radii, z, strict=True)
    ]
    lower, upper = rings
    walls = np.stack([lower, np.roll(lower, -1, axis=0), np.roll(upper, -1, axis=0), upper], axis=1)
    quads = np.concatenate([walls, _cap(upper), _cap(lower[::-1])])
    return Mesh(quads, np.tile(colour, (len(quads), 1)))


def tilt(mesh: Mesh, degrees: float) -> Mesh:
    """Return the mesh turned about the y axis; positive angles lean upright faces backwards, to negative x."""
    angle = np.radians(degrees)
    rotation = np.array(
        [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]], dtype=np.float64
    )
    return Mesh(mesh.quads @ rotation.T, mesh.colours)


def bright_colour(generator: np.random.Generator) -> Colour:
    """Draw a random saturated colour of any hue."""
    hue, saturation, value = generator.uniform(), generator.uniform(0.6, 1.0), generator.uniform(0.6, 1.0)
    return 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float64)


def _cap(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut a convex polygon of an even number of corners into quadrilaterals about its first corner."""
    quads: NDArray[np.float64] = np.stack(
        [ring[[0, index, index + 1, index + 2]] for index in range(1, len(ring) - 2, 2)]
    )
    return quads


def _rotation_about_z(degrees: float) -> NDArray[np.float64]:
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]], np.float64)
