"""What a photo shows: the object, where it stands, and which pixels are its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from respin.errors import InternalError, InvalidInput, ObjectNotFound
from respin.geometry import Box, Size, bounding_box
from respin.request import RotationRequest
from respin_ensemble.imaging.codec import Photo, decode_photo, encode, encode_cut_out, encode_mask
from respin_ensemble.imaging.masks import largest_shape_on_white
from respin_ensemble.imaging.tensors import Mask, Picture
from respin_ensemble.networks import Networks
from respin_ensemble.pipeline.cache import digest
from respin_ensemble.pipeline.context import Workshop
from respin_ensemble.pipeline.events import Event, Made, Report
from respin_ensemble.pipeline.outline import Outline
from respin_ensemble.stages.detection import Detection, find_object
from respin_ensemble.stages.segmentation import object_mask

LEAST_SHAPE_SHARE = 0.02
"""Of a view's side: what is smaller each way is no object."""


@dataclass(frozen=True)
class Scene:
    """A photo and the object in it.

    Args:
        photo: upright.
        found: where the object is.
        mask: (H, W) bool with at least one true pixel: the object.
    """

    photo: Photo
    found: Detection
    mask: Mask


def look_at(workshop: Workshop, request: RotationRequest, report: Report) -> Scene:
    """Decode the photo, find the object, and cut it out; what an earlier request found is not looked for again.

    Raises:
        InvalidInput: the photo, the name or the box is not usable.
        ObjectNotFound: the photo does not show the object, or its box holds no shape.
    """
    report(Event("detection"))
    with workshop.stage("decoding"):
        photo = decode_photo(request.image)
    key = digest(
        request.image,
        request.class_name,
        request.box,
        request.box_threshold,
        request.text_threshold,
        request.mask_choice,
    )
    draw = partial(_outline, workshop, photo.pixels, request, report)
    outline = workshop.caches.outlines.get(key, draw, workshop.still_wanted)
    scene = Scene(photo, outline.found, outline.mask)
    report(Event("segmentation", made=_results(scene, request)))
    return scene


def _outline(workshop: Workshop, photo: Picture, request: RotationRequest, report: Report) -> Outline:
    networks = workshop.networks
    with workshop.stage("detection"):
        found = _given(request, Size.of(photo)) or _find(networks, photo, request)
    report(Event("segmentation"))
    with workshop.stage("segmentation"):
        mask = object_mask(networks, photo, found.box, choice=request.mask_choice)
    if not mask.any():
        raise ObjectNotFound(
            f"no shape of a '{request.class_name}' in its box {_numbers(found.box)}; "
            "send another box, or mask_choice 'best'"
        )
    return Outline.of(found, mask)


def shape_of_view(networks: Networks, view: Picture, request: RotationRequest) -> tuple[Mask, bool]:
    """The object's mask in its novel view.

    The view is segmented like a photo. Where that finds nothing, the view is an object on white all the same: its
    largest shape is taken by its colour.

    Args:
        networks: of the set.
        view: (side, side, 3) uint8, the object on white.
        request: whose object it is.

    Returns:
        (side, side) bool with at least one true pixel, and whether the object was recognised.

    Raises:
        InternalError: the view is blank.
    """
    try:
        found = _find(networks, view, request)
        mask = object_mask(networks, view, found.box, choice=request.mask_choice)
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


def _given(request: RotationRequest, size: Size) -> Detection | None:
    """The box that the request carries, if it does.

    Raises:
        InvalidInput: it has no area, or does not lie in the photo.
    """
    if request.box is None:
        return None
    box = Box(*request.box)
    if box.width < 1 or box.height < 1:
        raise InvalidInput(
            f"box is {_numbers(box)}: {box.width:g} px wide and {box.height:g} px high; "
            "send (x0, y0, x1, y1) with x1 > x0 and y1 > y0, at least a pixel each way"
        )
    if box.x1 > size.width or box.y1 > size.height:
        raise InvalidInput(
            f"box is {_numbers(box)}, the photo {size.width} x {size.height} px once upright; "
            "send a box that lies in the photo"
        )
    return Detection(box, score=1.0, phrase="")


def _numbers(box: Box) -> str:
    return "(" + ", ".join(f"{number:g}" for number in box.to_array()) + ")"


def _results(scene: Scene, request: RotationRequest) -> Made:
    """What is there once the mask is; without angles, that is the whole answer."""
    photo, mask = scene.photo, scene.mask
    made: Made = {
        "mask": lambda: encode_mask(mask),
        "cut_out": lambda: encode_cut_out(photo.pixels, mask.astype(np.float32), photo.icc_profile),
        "box": scene.found.box.to_array,
        "score": lambda: scene.found.score,
        "phrase": lambda: scene.found.phrase,
    }
    if request.views > 0:
        return made
    on_white = np.where(mask[..., None], photo.pixels, np.uint8(255))
    return {**made, "image": partial(encode, on_white, request.output_format, photo.icc_profile)}


def _has_shape(mask: Mask) -> bool:
    return bool(mask.any()) and bounding_box(mask).size.longest >= LEAST_SHAPE_SHARE * mask.shape[0]
