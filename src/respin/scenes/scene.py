"""A photo of one or two objects in a room, with the ground truth of every stage of the job."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respin.geometry import Box, bounding_box
from respin.scenes.furniture import KINDS, make_object
from respin.scenes.rasterizer import Camera, Canvas, Faces, Frame, downsample, majority, visible_faces
from respin.scenes.room import Room, Shadow, shadow_of
from respin.scenes.solids import Mesh
from respin.scenes.views import ViewPair, render_pair
from respin.scenes.window import Window

TRAINING_SEEDS = range(0, 1_000_000)
"""Seeds of the scenes that networks may be trained on."""

HELD_OUT_SEEDS = range(1_000_000, 2_000_000)
"""Seeds of the scenes that networks are measured on; their objects do not occur in training scenes."""

SUPERSAMPLING = 2
"""Rendered pixels per pixel of the picture, along each axis."""

FRONT_DEGREES = 60.0
"""Largest angle between the camera and an object's front, degrees."""

SIZE_SHARES = {1: (0.38, 0.58), 2: (0.3, 0.42)}
"""Longer side of the first object's box as a share of the photo's shorter side: its range, by the number of objects."""


@dataclass(frozen=True)
class SceneOptions:
    """The distribution that scenes are drawn from.

    Args:
        size: (height, width) of the photo, px; multiples of 4.
        kinds: kinds of objects to choose from.
        most_azimuth: the largest turn, degrees; the smallest is 15.
        two_objects: share of the scenes that show a second object, of another kind.
    """

    size: tuple[int, int] = (384, 512)
    kinds: tuple[str, ...] = KINDS
    most_azimuth: float = 90.0
    two_objects: float = 0.4


@dataclass(frozen=True, eq=False)
class SceneObject:
    """An object in a photo.

    Args:
        kind: its class name, one of `SceneOptions.kinds`.
        mask: (H, W) bool: the pixels that show the object, at least half of each.
        box: bounding box of the mask, px.
    """

    kind: str
    mask: NDArray[np.bool_]
    box: Box


@dataclass(frozen=True, eq=False)
class Scene:
    """A rendered photo with its ground truth.

    Args:
        seed: the seed it was drawn from.
        photo: (H, W, 3) uint8.
        objects: the objects in the photo; the first is the one to turn, and nothing hides it.
        background: (H, W, 3) uint8: the photo without the first object and its shadow.
        azimuth: camera move in degrees, positive to the right, by which the first object is turned in `turned`.
        turned: (H, W, 3) uint8: the photo with the first object turned, and its shadow with it.
        turned_mask: (H, W) bool: the pixels of `turned` that show the first object.
        mesh: the first object, its front towards positive x.
        facing: azimuth of the camera in degrees from the front of the first object.
        camera: the camera of the photo.
    """

    seed: int
    photo: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    background: NDArray[np.uint8]
    azimuth: float
    turned: NDArray[np.uint8]
    turned_mask: NDArray[np.bool_]
    mesh: Mesh
    facing: float
    camera: Camera

    @property
    def target(self) -> SceneObject:
        """The object to turn."""
        return self.objects[0]

    def views(self, *, side: int, object_share: float, azimuth: float | None = None, polar: float = 0.0) -> ViewPair:
        """Render the first object on white from the photo's side and from a new one.

        Args:
            side: side of the views, px.
            object_share: longer side of the object's box in the first view, as a share of the side.
            azimuth: camera move in degrees, positive to the right; None = the scene's own.
            polar: camera move in degrees, positive down.
        """
        move = self.azimuth if azimuth is None else azimuth
        return render_pair(
            self.mesh, self.camera, self.facing, azimuth=move, polar=polar, side=side, object_share=object_share
        )


def render_scene(seed: int, options: SceneOptions = SceneOptions()) -> Scene:
    """Render a scene; the same seed and options give the same pixels.

    Args:
        seed: one of `TRAINING_SEEDS` or `HELD_OUT_SEEDS`.
        options: the distribution to draw from.
    """
    generator = np.random.default_rng([seed, 1])
    count = 2 if generator.random() < options.two_objects else 1
    kinds = generator.permutation(options.kinds)[:count]
    meshes = [make_object(str(kind), generator) for kind in kinds]
    facings = generator.uniform(-FRONT_DEGREES, FRONT_DEGREES, count)
    azimuth = float(generator.choice([-1, 1]) * generator.uniform(15, options.most_azimuth))
    stage = _Stage.draw(meshes, facings, options, generator)
    others = [mesh.rotate(-facing) for mesh, facing in zip(meshes[1:], facings[1:], strict=True)]
    rendered, shown = stage.with_others(others)
    background = downsample(rendered, SUPERSAMPLING)
    before, mask = stage.with_target(rendered, background, meshes[0].rotate(-facings[0]), others)
    after, turned_mask = stage.with_target(rendered, background, meshes[0].rotate(-facings[0] - azimuth), others)
    masks = [majority(visible, SUPERSAMPLING) for visible in (mask, *(other & ~mask for other in shown))]
    return Scene(
        seed=seed,
        photo=before,
        objects=tuple(
            SceneObject(str(kind), shown, bounding_box(shown).box) for kind, shown in zip(kinds, masks, strict=True)
        ),
        background=background,
        azimuth=azimuth,
        turned=after,
        turned_mask=majority(turned_mask, SUPERSAMPLING),
        mesh=meshes[0],
        facing=float(facings[0]),
        camera=stage.frame.camera,
    )


@dataclass(frozen=True, eq=False)
class _Stage:
    """The camera, room and layout of a scene, at the rendered resolution."""

    room: Room
    frame: Frame
    offset: tuple[float, float]

    @classmethod
    def draw(
        cls, meshes: list[Mesh], facings: NDArray[np.float64], options: SceneOptions, generator: np.random.Generator
    ) -> _Stage:
        uniform = generator.uniform
        height, width = (side * SUPERSAMPLING for side in options.size)
        camera = Camera(elevation=uniform(8, 30), distance=uniform(4.2, 6.5))
        floor = float(meshes[0].corners[:, 2].min())
        extent = visible_faces(meshes[0].rotate(-facings[0]), camera).extent
        share = uniform(*SIZE_SHARES[len(meshes)])
        scale = share * min(height, width) / float((extent[1] - extent[0]).max())
        # A second object stands to one side, so the first keeps to the other.
        side = generator.choice([-1, 1])
        lean = uniform(0.12, 0.22) if len(meshes) > 1 else uniform(-0.16, 0.16)
        origin = (width * (0.5 - side * lean), height * uniform(0.45, 0.6))
        offset = (uniform(-0.9, 0.4), side * uniform(1.75, 2.2))
        return cls(Room.draw(floor, generator), Frame(camera, (height, width), scale, origin), offset)

    def _placed(self, mesh: Mesh) -> Mesh:
        """Put the second object on the floor beside the first."""
        drop = self.room.floor - float(mesh.corners[:, 2].min())
        return mesh.translate((self.offset[0], self.offset[1], drop))

    def with_others(self, others: list[Mesh]) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]]]:
        """Render the room and all objects but the first.

        Returns:
            (3, H, W) uint8, and the (H, W) masks of these objects, at the rendered resolution.
        """
        planes, masks = self.room.photograph(self.frame), []
        for mesh in map(self._placed, others):
            shadow, faces, window = self._footprint(mesh)
            shadow.fall_on(planes)
            canvas = self._canvas(window.crop(planes), window)
            masks.append(self._whole(canvas.draw(faces), window))
        return planes, masks

    def with_target(
        self, rendered: NDArray[np.uint8], background: NDArray[np.uint8], mesh: Mesh, others: list[Mesh]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Render the photo, (H, W, 3) uint8, and the first object's mask, (H, W) at the rendered resolution.

        Args:
            rendered: (3, H, W) uint8: the background at the rendered resolution.
            background: (H, W, 3) uint8: the background at the photo's resolution.
            mesh: the first object.
            others: the other objects, which the background shows.
        """
        shadow, faces, window = self._footprint(mesh)
        canvas = self._canvas(window.crop(rendered).copy(), window)
        shadow.fall_on(canvas.planes, window)
        # The shadow falls on the floor, not on the other objects: they are drawn again.
        for other in others:
            canvas.draw(visible_faces(self._placed(other), self.frame.camera))
        mask = canvas.draw(faces)
        photo = background.copy()
        photo[window.to_blocks(SUPERSAMPLING).slices] = downsample(canvas.planes, SUPERSAMPLING)
        return photo, self._whole(mask, window)

    def _footprint(self, mesh: Mesh) -> tuple[Shadow, Faces, Window]:
        """Return the shadow and the faces of a mesh, and the whole blocks of pixels that they may change."""
        shadow = shadow_of(mesh, self.room.floor, self.frame)
        faces = visible_faces(mesh, self.frame.camera)
        window = shadow.window.union(self.frame.window_of(faces))
        return shadow, faces, window.to_blocks(SUPERSAMPLING).to_pixels(SUPERSAMPLING)

    def _canvas(self, planes: NDArray[np.uint8], window: Window) -> Canvas:
        return Canvas(planes, self.frame.scale, self.frame.origin, window)

    def _whole(self, mask: NDArray[np.bool_], window: Window) -> NDArray[np.bool_]:
        """Return the mask of a window as one of the picture."""
        whole = np.zeros(self.frame.shape, np.bool_)
        window.crop(whole)[:] = mask
        return whole
