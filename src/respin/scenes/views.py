"""An object on white before and after a camera move, framed as the condition image of Zero123 is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin.scenes.rasterizer import Camera, Canvas, Faces, downsample, majority, visible_faces
from respin.scenes.solids import Mesh

SUPERSAMPLING = 3
"""Rendered pixels per pixel of a view, along each axis."""


@dataclass(frozen=True, eq=False)
class ViewPair:
    """An object before and after a camera move, at one scale, each view centred on its own box.

    Args:
        before: (side, side, 3) uint8 on white, as the photo shows the object.
        before_mask: (side, side) bool.
        after: (side, side, 3) uint8 on white, after the move.
        after_mask: (side, side) bool.
        azimuth: camera move in degrees, positive to the right.
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
        mesh: the object, its front towards positive x.
        camera: the camera of the first view.
        facing: azimuth of the first view in degrees from the front of the object.
        azimuth: camera move in degrees, positive to the right.
        polar: camera move in degrees, positive down.
        side: side of the views, px.
        object_share: longer side of the object's box in the first view, as a share of the side.
    """
    first = visible_faces(mesh.rotate(-facing), camera)
    scale = object_share * side / float((first.extent[1] - first.extent[0]).max())
    second = visible_faces(
        mesh.rotate(-facing - azimuth), Camera(elevation=camera.elevation - polar, distance=camera.distance)
    )
    before, before_mask = draw_on_white(first, scale, side)
    after, after_mask = draw_on_white(second, scale, side)
    return ViewPair(before, before_mask, after, after_mask, azimuth, polar)


def draw_on_white(faces: Faces, scale: float, side: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw faces centred on a white square.

    Args:
        faces: the faces of one object.
        scale: pixels per unit of the image plane.
        side: side of the square, px.

    Returns:
        The view, (side, side, 3) uint8, and its mask, (side, side) bool.
    """
    rendered = side * SUPERSAMPLING
    centre = faces.extent.mean(axis=0) * scale * SUPERSAMPLING
    planes = np.full((3, rendered, rendered), 255, np.uint8)
    canvas = Canvas(planes, scale * SUPERSAMPLING, (rendered / 2 - centre[0], rendered / 2 - centre[1]))
    shown = canvas.draw(faces)
    return downsample(planes, SUPERSAMPLING), majority(shown, SUPERSAMPLING)
