"""The job that is judged: through the server, or with altered networks in this process."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from respin.geometry import Box
from respin.request import RotationRequest
from respin.scenes import Scene
from respin_client import Client
from respin_client.results import EncodedImage, RotationResult
from respin_ensemble.batching.batchers import StepBatchers
from respin_ensemble.imaging.codec import encode_picture
from respin_ensemble.imaging.tensors import Mask, Picture
from respin_ensemble.networks import Networks
from respin_ensemble.pipeline.context import JobContext
from respin_ensemble.pipeline.events import JobEvent
from respin_ensemble.pipeline.rotate_object import rotate_object
from respin_ensemble.stages.novel_view import CameraProjection

OUTPUTS = ("mask", "box", "score", "novel_view", "background", "image")


@dataclass(frozen=True, eq=False)
class JobOutputs:
    """What a job returned for one view, decoded.

    Args:
        mask: (H, W) bool, the object in the photo.
        box: box of the object, px of the photo.
        score: score of the detection, 0..1.
        view: (4 side, 4 side, 3) uint8, the object from its new side on white.
        background: (H, W, 3) uint8, the photo without the object.
        image: (H, W, 3) uint8, the composite.
    """

    mask: Mask
    box: Box
    score: float
    view: Picture
    background: Picture
    image: Picture


def request_for(scene: Scene, *, with_box: bool = False, **options: Any) -> RotationRequest:
    """Return the request to turn a scene's object as the truth is turned.

    Args:
        scene: to send.
        with_box: send the true box too, so that nothing has to be detected.
        **options: further fields of the request.
    """
    if with_box:
        options["box"] = tuple(float(edge) for edge in scene.target.box.to_array())
    return RotationRequest(
        encode_picture(scene.photo, "png"), scene.target.kind, azimuth=(scene.azimuth,), output_format="png", **options
    )


def served_outputs(client: Client, request: RotationRequest) -> JobOutputs:
    """Run a job of one view on a server.

    Raises:
        RespinError: the job failed, for example because the object was not found.
    """
    result = client.rotate_object(request, outputs=OUTPUTS)
    assert isinstance(result, RotationResult)
    assert result.mask is not None
    assert result.background is not None
    return _outputs(
        {
            "mask": result.mask,
            "box": np.array(result.box, np.float32),
            "score": result.score,
            "novel_view": result.novel_view[0],
            "background": result.background,
            "image": result.image[0],
        }
    )


def outputs_in_process(networks: Networks, request: RotationRequest) -> JobOutputs:
    """Run a job of one view in this process, without a server.

    Args:
        networks: to run; they may be altered ones.
        request: request of one view.

    Raises:
        RespinError: the job failed.
    """
    made: dict[str, Any] = {}

    def report(event: JobEvent) -> None:
        made.update({name: event.results[name]() for name in OUTPUTS if name in event.results})

    with ThreadPoolExecutor(1) as executor, closing(StepBatchers(networks)) as batchers:
        rotate_object(JobContext(networks, batchers, executor, CameraProjection(networks)), request, report)
    return _outputs(made)


def _outputs(made: Mapping[str, Any]) -> JobOutputs:
    return JobOutputs(
        mask=_pixels(made["mask"]) > 0,
        box=Box(*(float(edge) for edge in made["box"])),
        score=float(made["score"]),
        view=_pixels(made["novel_view"]),
        background=_pixels(made["background"]),
        image=_pixels(made["image"]),
    )


def _pixels(file: bytes) -> Picture:
    return np.asarray(EncodedImage(file).pil())
