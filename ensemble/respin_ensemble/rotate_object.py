"""The story: one photo in, the same photo out with its object turned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np

from respin.request import RotationRequest
from respin_ensemble.branches import alongside
from respin_ensemble.composition import paste
from respin_ensemble.events import Event, Report
from respin_ensemble.inpainting import fill
from respin_ensemble.masks import grow
from respin_ensemble.networks import Networks
from respin_ensemble.novel_view import object_on_white, turn
from respin_ensemble.photos import encode
from respin_ensemble.pictures import Picture
from respin_ensemble.sampling import Stepper
from respin_ensemble.scene import Scene, look_at, shape_of_view
from respin_ensemble.super_resolution import enlarge
from respin_ensemble.tokens import prompt_ids


@dataclass(frozen=True)
class Workshop:
    """What a job works with.

    Args:
        networks: of the set.
        stepper: drives the two UNets.
        branches: runs the background beside the views.
    """

    networks: Networks
    stepper: Stepper
    branches: Executor


def rotate_object(workshop: Workshop, request: RotationRequest, report: Report) -> None:
    """Do what a request asks; every result goes to `report` as soon as it is there.

    Without angles, the mask and the cut-out are the answer.

    Raises:
        RespinError: in words for the caller.
    """
    scene = look_at(workshop.networks, request, report)
    notes: list[str] = []
    if request.views > 0:
        if prompt_ids(request.background_prompt)[1]:
            notes.append("background_prompt is longer than CLIP reads; its end was cut off")
        paint = partial(paint_background, workshop, scene, request)
        with alongside(workshop.branches, paint, report) as background:
            notes += list(turn_views(workshop, scene, request, background, report))
    report(Event("done", made={"notes": lambda: np.array([note.encode() for note in notes], np.object_)}))


def paint_background(workshop: Workshop, scene: Scene, request: RotationRequest, report: Report) -> Picture:
    """The photo without the object."""
    background = fill(
        workshop.networks,
        workshop.stepper,
        scene.photo.pixels,
        grow(scene.mask, request.dilate_px),
        prompt=request.background_prompt,
        negative_prompt=request.class_name,
        steps=request.background_steps,
        guidance=request.background_guidance,
        grown_px=request.dilate_px,
        seed=request.seed,
        on_step=lambda step, steps: report(Event("background", step=step, steps=steps)),
    )
    report(Event("background", made={"background": _encoded(background, scene, request)}))
    return background


def turn_views(
    workshop: Workshop, scene: Scene, request: RotationRequest, background: Callable[[], Picture], report: Report
) -> Iterator[str]:
    """Turn the object to every side asked for, and put each into the background.

    Args:
        workshop: to work with.
        scene: the photo and its object.
        request: what is asked for.
        background: waits for the photo without the object.
        report: takes each view.

    Yields:
        Notes about choices made on the way.
    """
    networks = workshop.networks
    sizes = networks.sizes
    picture, square = object_on_white(
        scene.photo.pixels, scene.mask, side=sizes.view_side, object_share=sizes.object_share
    )
    views = turn(
        networks,
        workshop.stepper,
        picture,
        list(zip(request.azimuth, request.polar, strict=True)),
        steps=request.steps,
        guidance=request.guidance,
        eta=request.eta,
        seed=request.seed,
        on_step=lambda step, steps: report(Event("novel_view", step=step, steps=steps)),
    )
    for index, small in enumerate(views):
        report(Event("super_resolution", view=index))
        view = enlarge(networks, small)
        mask, recognised = shape_of_view(networks, view, request)
        if not recognised:
            yield f"view {index}: no '{request.class_name}' recognised in it; its outline was taken by its colour"
        image = paste(background(), view, mask, square=square, box=scene.found.box, fit=request.fit)
        made = {"image": _encoded(image, scene, request), "novel_view": _encoded(view, scene, request)}
        report(Event("novel_view", view=index, made=made))


def _encoded(picture: Picture, scene: Scene, request: RotationRequest) -> Callable[[], bytes]:
    return partial(encode, picture, request.output_format, scene.photo.icc_profile)
