"""Rendered scenes with ground truth: furniture in a textured room, photographed, then turned.

    from respin.scenes import HELD_OUT_SEEDS, render_scene

    scene = render_scene(HELD_OUT_SEEDS[0])
    scene.photo, scene.objects[0].kind, scene.azimuth, scene.turned

The mini set is trained on such scenes, and `respin quality` measures any set on them, because a real photo does not
show how its object looks from another side. Rendering needs numpy alone and is deterministic: the same seed gives the
same pixels. `respin scene` writes a scene to files.
"""

from respin.scenes.furniture import KINDS
from respin.scenes.scene import HELD_OUT_SEEDS, TRAINING_SEEDS, Scene, SceneObject, SceneOptions, render_scene
from respin.scenes.views import ViewPair, render_pair

__all__ = [
    "HELD_OUT_SEEDS",
    "KINDS",
    "TRAINING_SEEDS",
    "Scene",
    "SceneObject",
    "SceneOptions",
    "ViewPair",
    "render_pair",
    "render_scene",
]
