"""Find the object of a request: in its photo, and in a novel view."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from respin.errors import InternalError, InvalidInput, ObjectNotFound
from respin.geometry import Box, Size, bounding_box
from respin.request import RotationRequest
from respin_ensemble.imaging.codec import Photo, decode_photo, encode_cut_out, encode_mask, encode_picture
from respin_ensemble.imaging.masks import drop_specks, largest_shape_on_white
from respin_ensemble.imaging.tensors import Mask, Picture
from respin_ensemble.networks import Networks
from respin_ensemble.pipeline.cache import digest
from respin_ensemble.pipeline.context import JobContext
from respin_ensemble.pipeline.events import JobEvent, ReportEvent, Results
from respin_ensemble.pipeline.outline import Outline
from respin_ensemble.stages.detection import Detection, find_object
from respin_ensemble.stages.segmentation import object_mask

MIN_SHAPE_SHARE = 0.02
"""Smallest side of an object in a view, as a share of the view's side; anything smaller is noise."""


@dataclass(frozen=True)
class SegmentedPhoto:
    """A photo and the object in it.

    Args:
        photo: the upright photo.
        found: where the object is.
        mask: (H, W) bool with at least one true pixel: the object.
    """

    photo: Photo
    found: Detection
    mask: Mask


def segment_photo(context: JobContext, request: RotationRequest, report: ReportEvent) -> SegmentedPhoto:
    """Decode the photo, find the object and segment it; detection and mask come from the cache if possible.

    Raises:
        InvalidInput: the photo, the name or the box cannot be used.
        ObjectNotFound: the photo does not show the object, or its box contains no shape.
    """
    report(JobEvent("detection"))
    with context.stage("decoding"):
        photo = decode_photo(request.image)
    compute = partial(_outline_object, context, photo.pixels, request, report)
    outline = context.caches.outlines.get(outline_key(request), compute, context.cancellation)
    scene = SegmentedPhoto(photo, outline.found, outline.mask)
    context.cancellation.check()
    report(JobEvent("segmentation", results=_results(scene, request)))
    return scene


def outline_key(request: RotationRequest) -> str:
    """Return the cache key of a request's outline: all that detection and mask depend on."""
    return digest(
        request.image,
        request.class_name,
        request.box,
        request.box_threshold,
        request.text_threshold,
        request.mask_choice,
    )


def _outline_object(context: JobContext, photo: Picture, request: RotationRequest, report: ReportEvent) -> Outline:
    networks = context.networks
    with context.stage("detection"):
        found = _detection_from_box(request, Size.from_array(photo)) or _find(networks, photo, request)
    report(JobEvent("segmentation"))
    with context.stage("segmentation"):
        mask = drop_specks(object_mask(networks, photo, found.box, choice=request.mask_choice))
    if not mask.any():
        raise ObjectNotFound(
            f"no shape of a '{request.class_name}' in its box {_format(found.box)}; "
            "send another box, or mask_choice 'best'"
        )
    return Outline.from_mask(found, mask)


def segment_view(networks: Networks, view: Picture, request: RotationRequest) -> tuple[Mask, bool]:
    """Return the object's mask in its novel view.

    The view is segmented like a photo. If that finds nothing, the mask is the largest shape that is not white.

    Args:
        networks: the networks of the set.
        view: (side, side, 3) uint8, the object on white.
        request: the request, with the object's name.

    Returns:
        (side, side) bool with at least one true pixel, and whether the object was recognised.

    Raises:
        InternalError: the view is blank.
    """
    try:
        found = _find(networks, view, request)
        mask = drop_specks(object_mask(networks, view, found.box, choice=request.mask_choice))
    except ObjectNotFound:
        mask = np.zeros(view.shape[:2], np.bool_)
    if _has_shape(mask):
        return mask, True
    mask = largest_shape_on_white(view)
    if not _has_shape(mask):
        raise InternalError("a novel view came out blank; try another seed, or more steps")
    return mask, False


def _find(networks: Networks, picture: Picture, request: RotationRequest) -> Detection:
    return find_object(
        networks,
        picture,
        request.class_name,
        box_threshold=request.box_threshold,
        text_threshold=request.text_threshold,
    )


def _detection_from_box(request: RotationRequest, size: Size) -> Detection | None:
    """Return the request's own box as a detection; None if it has no box.

    Raises:
        InvalidInput: the box has no area, is larger than the photo, or has its centre outside.
    """
    if request.box is None:
        return None
    box = Box(*request.box)
    if box.width <= 0 or box.height <= 0:
        raise InvalidInput(
            f"box is {_format(box)}: {box.width:g} px wide and {box.height:g} px high; "
            "send (x0, y0, x1, y1) with x1 > x0 and y1 > y0"
        )
    # What the detector can return: fractions of the photo for centre and sides. One pixel is for rounding.
    (x, y), is_larger = box.centre, box.width > size.width + 1 or box.height > size.height + 1
    if is_larger or not (-1 <= x <= size.width + 1 and -1 <= y <= size.height + 1):
        raise InvalidInput(
            f"box is {_format(box)}, the photo {size.width} x {size.height} px once upright; "
            "send a box inside the photo; its edges may reach out if its centre is inside and it is not larger"
        )
    return Detection(box, score=1.0, phrase="")


def _format(box: Box) -> str:
    return "(" + ", ".join(f"{number:g}" for number in box.to_array()) + ")"


def _results(scene: SegmentedPhoto, request: RotationRequest) -> Results:
    """Return the results that follow from the mask; without camera moves, that is the whole answer."""
    photo, mask = scene.photo, scene.mask
    results: Results = {
        "mask": lambda: encode_mask(mask),
        "cut_out": lambda: encode_cut_out(photo.pixels, mask.astype(np.float32), photo.icc_profile),
        "box": scene.found.box.to_array,
        "score": lambda: scene.found.score,
        "phrase": lambda: scene.found.phrase,
    }
    if request.views > 0:
        return results
    on_white = np.where(mask[..., None], photo.pixels, np.uint8(255))
    return {**results, "image": partial(encode_picture, on_white, request.output_format, photo.icc_profile)}


def _has_shape(mask: Mask) -> bool:
    return bool(mask.any()) and bounding_box(mask).size.longest >= MIN_SHAPE_SHARE * mask.shape[0]
