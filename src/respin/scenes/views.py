"""An object on white from two sides, in the frame that the novel view's network is served: the photo's side first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin.scenes.rasterizer import Camera, Canvas, Faces, shrunk, visible_faces
from respin.scenes.solids import Mesh

SUPERSAMPLING = 3
"""Rendered pixels a pixel of a view, each way."""


@dataclass(frozen=True, eq=False)
class ViewPair:
    """The same object from two sides at one scale, each centred on its own box.

    Args:
        before: (side, side, 3) uint8 on white, from the photo's side.
        before_mask: (side, side) bool.
        after: (side, side, 3) uint8 on white, from the new side.
        after_mask: (side, side) bool.
        azimuth: camera move between them in degrees, positive to the right.
        polar: camera move in degrees, positive down.
    """

    before: NDArray[np.uint8]
    before_mask: NDArray[np.bool_]
    after: NDArray[np.uint8]
    after_mask: NDArray[np.bool_]
    azimuth: float
    polar: float


def render_pair(
    mesh: Mesh, camera: Camera, facing: float, *, azimuth: float, polar: float, side: int, object_share: float
) -> ViewPair:
    """Render an object before and after a camera move.

    Args:
        mesh: faces positive x.
        camera: that takes the first view.
        facing: azimuth of the first view in degrees from the object's front.
        azimuth: camera move in degrees, positive to the right.
        polar: camera move in degrees, positive down.
        side: of the views, px.
        object_share: share of the side that the longer side of the object's box takes in the first view.
    """
    first = visible_faces(mesh.turned(-facing), camera)
    scale = object_share * side / float((first.extent[1] - first.extent[0]).max())
    second = visible_faces(
        mesh.turned(-facing - azimuth), Camera(elevation=camera.elevation - polar, distance=camera.distance)
    )
    before, before_mask = draw_on_white(first, scale, side)
    after, after_mask = draw_on_white(second, scale, side)
    return ViewPair(before, before_mask, after, after_mask, azimuth, polar)


def draw_on_white(faces: Faces, scale: float, side: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw faces centred on a white square.

    Args:
        faces: of one object.
        scale: pixels a unit of the image plane.
        side: of the square, px.

    Returns:
        (side, side, 3) uint8 and (side, side) bool.
    """
    rendered = side * SUPERSAMPLING
    centre = faces.extent.mean(axis=0) * scale * SUPERSAMPLING
    pixels = np.full((rendered, rendered, 3), 255, np.uint8)
    canvas = Canvas(pixels, scale * SUPERSAMPLING, (rendered / 2 - centre[0], rendered / 2 - centre[1]))
    shown = canvas.draw(faces)
    return shrunk(pixels, SUPERSAMPLING), shrunk(shown.astype(np.uint8) * np.uint8(200), SUPERSAMPLING) >= 100
