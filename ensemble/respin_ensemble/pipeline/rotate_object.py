"""The story: one photo in, the same photo out with its object turned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np

from respin.geometry import Placement
from respin.request import RotationRequest
from respin_ensemble.imaging.codec import encode
from respin_ensemble.imaging.masks import grow
from respin_ensemble.imaging.tensors import Picture
from respin_ensemble.pipeline.cache import digest
from respin_ensemble.pipeline.context import Workshop
from respin_ensemble.pipeline.events import Event, Report
from respin_ensemble.pipeline.scene import Scene, look_at, shape_of_view
from respin_ensemble.pipeline.task_group import Crew, alongside, check
from respin_ensemble.sampling import Guidance
from respin_ensemble.stages.composition import paste
from respin_ensemble.stages.inpainting import Painting, Patch, fill, text_contexts
from respin_ensemble.stages.novel_view import condition_of, object_on_white, turn
from respin_ensemble.stages.super_resolution import enlarge
from respin_ensemble.stages.tokenization import prompt_ids

FINISHED_AT_ONCE = 4
"""Views of one job that are enlarged, cut out, pasted and encoded at the same time: while a network works on one, the
processor works on others, and a server that batches finds company for each call."""


def rotate_object(workshop: Workshop, request: RotationRequest, report: Report) -> None:
    """Do what a request asks; every result goes to `report` as soon as it is there.

    Without angles, the mask and the cut-out are the answer.

    Raises:
        RespinError: in words for the caller.
    """
    scene = look_at(workshop, request, report)
    notes: list[str] = []
    if request.views > 0:
        if prompt_ids(request.background_prompt)[1]:
            notes.append("background_prompt is longer than CLIP reads; its end was cut off")
        paint = partial(paint_background, workshop, scene, request)
        with alongside(workshop.branches, paint, report) as background:
            notes += list(turn_views(workshop, scene, request, background, report))
    report(Event("done", made={"notes": lambda: np.array([note.encode() for note in notes], np.object_)}))


def paint_background(workshop: Workshop, scene: Scene, request: RotationRequest, report: Report) -> Picture:
    """The photo without the object; what an earlier request painted is not painted again."""
    networks, caches, photo = workshop.networks, workshop.caches, scene.photo.pixels
    painting = Painting(
        prompt=request.background_prompt,
        negative_prompt=request.class_name,
        sampler=request.background_sampler,
        steps=request.background_steps,
        guidance=Guidance(
            request.background_guidance, request.background_guidance_start, request.background_guidance_end
        ),
        grown_px=request.dilate_px,
        seed=request.seed,
    )
    prompts = painting.prompt, painting.negative_prompt

    def paint() -> Patch:
        contexts = caches.texts.get(digest(prompts), partial(text_contexts, networks, *prompts), workshop.still_wanted)
        return fill(
            networks,
            workshop.stepper,
            photo,
            grow(scene.mask, request.dilate_px),
            painting,
            contexts=contexts,
            on_step=lambda step, steps: report(Event("background", step=step, steps=steps)),
        )

    report(Event("background"))
    with workshop.stage("background"):
        key = digest(request.image, scene.mask, astuple(painting))
        background = caches.backgrounds.get(key, paint, workshop.still_wanted).laid_into(photo)
    report(Event("background", made={"background": _encoded(background, scene, request)}))
    return background


def turn_views(
    workshop: Workshop, scene: Scene, request: RotationRequest, background: Future[Picture], report: Report
) -> Iterator[str]:
    """Turn the object to every side asked for, and put each into the background as soon as it is done.

    Args:
        workshop: to work with.
        scene: the photo and its object.
        request: what is asked for.
        background: the photo without the object; that it cannot be painted ends the views too.
        report: takes each view.

    Yields:
        Notes about choices made on the way.
    """
    networks = workshop.networks
    sizes = networks.sizes
    report(Event("novel_view"))
    picture, square = object_on_white(
        scene.photo.pixels, scene.mask, side=sizes.view_side, object_share=sizes.object_share
    )
    condition = workshop.caches.conditions.get(
        digest(picture), partial(condition_of, networks, picture), workshop.still_wanted
    )
    contexts = workshop.moves.contexts(condition, list(zip(request.azimuth, request.polar, strict=True)))
    finish = _Finish(workshop, scene, request, square, background)
    with Crew(min(request.views, FINISHED_AT_ONCE), report) as crew:

        def on_step(step: int, steps: int) -> None:
            crew.check()
            check([background])
            report(Event("novel_view", step=step, steps=steps))

        views = turn(
            networks,
            workshop.stepper,
            condition,
            contexts,
            sampler=request.sampler,
            steps=request.steps,
            guidance=Guidance(request.guidance, request.guidance_start, request.guidance_end),
            eta=request.eta,
            seed=request.seed,
            on_step=on_step,
        )
        with closing(views):
            finished = {index: crew.begin(partial(finish, index, small)) for index, small in views}
        for index in sorted(finished):
            yield from finished[index].result()


@dataclass(frozen=True)
class _Finish:
    """Takes views from the decoder to the answer."""

    workshop: Workshop
    scene: Scene
    request: RotationRequest
    square: Placement
    background: Future[Picture]

    def __call__(self, index: int, small: Picture, report: Report) -> list[str]:
        """Report one view; notes about choices made on the way."""
        workshop, scene, request = self.workshop, self.scene, self.request
        report(Event("super_resolution", view=index))
        with workshop.stage("super_resolution"):
            view = enlarge(workshop.networks, small)
        with workshop.stage("outline of a view"):
            mask, recognised = shape_of_view(workshop.networks, view, request)
        behind = self.background.result()
        with workshop.stage("composition"):
            image = paste(behind, view, mask, square=self.square, box=scene.found.box, fit=request.fit)
        made = {"image": _encoded(image, scene, request), "novel_view": _encoded(view, scene, request)}
        report(Event("novel_view", view=index, made=made))
        if recognised:
            return []
        return [f"view {index}: no '{request.class_name}' recognised in it; its outline was taken by its colour"]


def _encoded(picture: Picture, scene: Scene, request: RotationRequest) -> Callable[[], bytes]:
    return partial(encode, picture, request.output_format, scene.photo.icc_profile)
