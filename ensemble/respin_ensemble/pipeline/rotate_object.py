"""The whole job: one photo in, the same photo with its object turned out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple, dataclass
from functools import partial
from typing import Literal

import numpy as np

from respin.geometry import Placement
from respin.request import RotationRequest
from respin_ensemble.imaging.codec import encode_picture
from respin_ensemble.imaging.masks import dilate
from respin_ensemble.imaging.tensors import Mask, Picture
from respin_ensemble.pipeline.cache import digest
from respin_ensemble.pipeline.context import Caches, JobContext
from respin_ensemble.pipeline.events import JobEvent, ReportEvent
from respin_ensemble.pipeline.scene import SegmentedPhoto, outline_key, segment_photo, segment_view
from respin_ensemble.pipeline.task_group import TaskGroup
from respin_ensemble.sampling import Guidance, SamplingParams
from respin_ensemble.stages.composition import paste
from respin_ensemble.stages.inpainting import InpaintParams, Patch, fill, text_contexts
from respin_ensemble.stages.novel_view import encode_condition, object_on_white, turn
from respin_ensemble.stages.super_resolution import enlarge
from respin_ensemble.stages.tokenization import prompt_ids

MAX_FINISHING = 4
"""Views of one job that are enlarged, cut out, pasted and encoded at the same time: the CPU works on some while a
network works on others, and a server that batches gets more samples per call."""

MAX_FINISHING_PX = 16 * 10**6
"""Limit on the pixels of these pictures together: each is as large as the photo, so a large photo has one at a time."""


def rotate_object(context: JobContext, request: RotationRequest, report: ReportEvent) -> None:
    """Do what a request asks for, and report every result as soon as it is available.

    Without camera moves, the results are the mask and the cut-out.

    Raises:
        Cancelled: the job was cancelled.
        RespinError: any other failure, with a message for the caller.
    """
    scene = segment_photo(context, request, report)
    notes = list(context.notes)
    if request.views > 0:
        if prompt_ids(request.background_prompt)[1]:
            notes.append("background_prompt is longer than CLIP reads; its end was cut off")
        notes += _turn_object(context, scene, request, report)
    context.cancellation.check()
    report(JobEvent("done", results={"notes": lambda: np.array([note.encode() for note in notes], np.object_)}))


def _turn_object(
    context: JobContext, scene: SegmentedPhoto, request: RotationRequest, report: ReportEvent
) -> list[str]:
    """Make the background and the views at the same time; each view is composed as soon as it is sampled.

    Returns:
        Notes for the caller, in the order of the views.
    """
    sizes = context.networks.sizes
    finishing = ThreadPoolExecutor(
        views_at_once(request.views, scene.mask.size),
        thread_name_prefix="view",
    )
    # The threads are the job's own, because they wait for the background, another part of the same job.
    with finishing, TaskGroup(context.cancellation) as group:
        context = context.with_cancellation(group.cancellation)
        background = group.start(context.executor, partial(paint_background, context, scene, request, report))
        report(JobEvent("novel_view"))
        picture, square = object_on_white(
            scene.photo.pixels, scene.mask, side=sizes.view_side, object_share=sizes.object_share
        )
        finish = _FinishView(context, scene, request, square, background, report)
        with closing(sample_views(context, picture, request, report)) as views:
            finished = {index: group.start(finishing, partial(finish, index, small)) for index, small in views}
    return [note for index in sorted(finished) for note in finished[index].result()]


def views_at_once(views: int, pixels: int) -> int:
    """Return how many views of a photo of so many pixels are finished at the same time."""
    return max(1, min(views, MAX_FINISHING, MAX_FINISHING_PX // pixels))


def paint_background(
    context: JobContext, scene: SegmentedPhoto, request: RotationRequest, report: ReportEvent
) -> Picture:
    """Return the photo without the object, (H, W, 3) uint8; from the cache if possible."""
    networks, caches, photo = context.networks, context.caches, scene.photo.pixels
    params = _inpaint_params(request)
    prompts = params.prompt, params.negative_prompt

    def paint() -> Patch:
        contexts = caches.texts.get(digest(prompts), partial(text_contexts, networks, *prompts), context.cancellation)
        return fill(
            networks,
            context.stepper,
            photo,
            dilate(scene.mask, request.dilate_px),
            params,
            contexts=contexts,
            on_step=lambda step, steps: report(JobEvent("background", step=step, steps=steps)),
        )

    report(JobEvent("background"))
    with context.stage("background"):
        key = _background_key(request, scene.mask)
        background = caches.backgrounds.get(key, paint, context.cancellation).paste_into(photo)
    context.cancellation.check()
    report(JobEvent("background", results={"background": _encoder(background, scene, request)}))
    return background


def _inpaint_params(request: RotationRequest) -> InpaintParams:
    return InpaintParams(
        prompt=request.background_prompt,
        negative_prompt=request.class_name,
        sampling=SamplingParams(
            request.background_sampler,
            request.background_steps,
            Guidance(request.background_guidance, request.background_guidance_start, request.background_guidance_end),
        ),
        grown_px=request.dilate_px,
        seed=request.seed,
    )


def _background_key(request: RotationRequest, mask: Mask) -> str:
    return digest(request.image, mask, astuple(_inpaint_params(request)))


def find_cached(caches: Caches, request: RotationRequest) -> tuple[Literal["scene", "background"], ...]:
    """Return which parts of a job its caches spare: the scene (detection and mask), and the background."""
    outline = caches.outlines.peek(outline_key(request))
    if outline is None:
        return ()
    if request.views and caches.backgrounds.peek(_background_key(request, outline.mask)) is not None:
        return "scene", "background"
    return ("scene",)


def sample_views(
    context: JobContext, picture: Picture, request: RotationRequest, report: ReportEvent
) -> Generator[tuple[int, Picture]]:
    """Sample the object from all requested sides in the same batches.

    Args:
        context: the job's context.
        picture: (side, side, 3) uint8, the object on white.
        request: the request.
        report: receives the progress.

    Yields:
        The index of a view and the view, (side, side, 3) uint8, as each is done.
    """
    networks = context.networks
    condition = context.caches.conditions.get(
        digest(picture), partial(encode_condition, networks, picture), context.cancellation
    )
    contexts = context.projection.contexts(condition, list(zip(request.azimuth, request.polar, strict=True)))
    guidance = Guidance(request.guidance, request.guidance_start, request.guidance_end)
    yield from turn(
        networks,
        context.view_stepper,
        condition,
        contexts,
        sampling=SamplingParams(request.sampler, request.steps, guidance, request.eta),
        seed=request.seed,
        on_step=lambda step, steps: report(JobEvent("novel_view", step=step, steps=steps)),
    )


@dataclass(frozen=True)
class _FinishView:
    """Turns sampled views into results: enlarged, cut out and composed."""

    context: JobContext
    scene: SegmentedPhoto
    request: RotationRequest
    square: Placement
    background: Future[Picture]
    report: ReportEvent

    def __call__(self, index: int, small: Picture) -> list[str]:
        """Finish and report one view, (side, side, 3) uint8, and return notes for the caller."""
        context, scene, request = self.context, self.scene, self.request
        with context.finishing.time_view():
            self.report(JobEvent("super_resolution", view=index))
            with context.stage("super_resolution"):
                view = enlarge(context.networks, small)
            self.report(JobEvent("outline", view=index))
            with context.stage("outline of a view"):
                mask, recognised = segment_view(context.networks, view, request)
        background = self.background.result()
        self.report(JobEvent("composition", view=index))
        with context.stage("composition"):
            image = paste(background, view, mask, square=self.square, box=scene.found.box, fit=request.fit)
        results = {"image": _encoder(image, scene, request), "novel_view": _encoder(view, scene, request)}
        context.cancellation.check()
        self.report(JobEvent("novel_view", view=index, results=results))
        if recognised:
            return []
        return [f"view {index}: no '{request.class_name}' recognised in it; its outline was taken by its colour"]


def _encoder(picture: Picture, scene: SegmentedPhoto, request: RotationRequest) -> Callable[[], bytes]:
    return partial(encode_picture, picture, request.output_format, scene.photo.icc_profile)
