"""The contracts of the three jobs: the tensors of requests and responses.

All three read the same request (`respin.request.RotationRequest`). A response carries only the outputs that the client
asked for, as far as the job makes them: without angles there is no background.
"""

from __future__ import annotations

from respin.options import VIEWS
from respin.request import request_tensors
from respin.specs import DType, ModelSpec, TensorSpec

_MASK = TensorSpec("mask", DType.BYTES, (1,), "PNG, 8-bit grey, the photo's size: 255 on the object, 0 elsewhere")
_CUT_OUT = TensorSpec("cut_out", DType.BYTES, (1,), "PNG, RGBA, the photo's size: the object, transparent elsewhere")
_BOX = TensorSpec("box", DType.FP32, (4,), "(x0, y0, x1, y1) px of the upright photo: where the object was found")
_SCORE = TensorSpec("score", DType.FP32, (1,), "of the detection, 0..1; 1 where the box was given")
_PHRASE = TensorSpec("phrase", DType.BYTES, (1,), "the words of class_name that were found; empty for a given box")
_NOTES = TensorSpec("notes", DType.BYTES, (VIEWS,), "sentences about choices made on the way")
_BACKGROUND = TensorSpec("background", DType.BYTES, (1,), "the photo without the object")

_FOUND = (_MASK, _CUT_OUT, _BOX, _SCORE, _PHRASE)

ROTATE_OBJECT_STREAM = ModelSpec(
    name="rotate_object_stream",
    summary="the engine: progress, then each view as it is done, then the end",
    decoupled=True,
    inputs=request_tensors(),
    outputs=(
        TensorSpec(
            "stage",
            DType.BYTES,
            (1,),
            "detection | segmentation | novel_view | super_resolution | outline | composition | background | done",
        ),
        TensorSpec("view", DType.INT32, (1,), "which camera move this message speaks of, from 0; -1 = all"),
        TensorSpec("step", DType.INT32, (1,), "denoising steps done"),
        TensorSpec("steps", DType.INT32, (1,), "denoising steps in all; 0 where the stage has none"),
        TensorSpec("image", DType.BYTES, (1,), "one view composed; without angles the object on white"),
        TensorSpec("novel_view", DType.BYTES, (1,), "that view's object alone, on white"),
        *_FOUND,
        _BACKGROUND,
        _NOTES,
        TensorSpec("status", DType.BYTES, (1,), "for calls within the server: an error as JSON {code, message}"),
    ),
)

ROTATE_OBJECT = ModelSpec(
    name="rotate_object",
    summary="one photo in, every view out, in one answer",
    inputs=request_tensors(),
    outputs=(
        TensorSpec("image", DType.BYTES, (VIEWS,), "each view composed; without angles the object on white"),
        TensorSpec("novel_view", DType.BYTES, (VIEWS,), "each view's object alone, on white"),
        *_FOUND,
        _BACKGROUND,
        _NOTES,
    ),
)

SEGMENT_OBJECT = ModelSpec(
    name="segment_object",
    summary="one photo in, the object's mask out",
    inputs=tuple(spec for spec in request_tensors() if spec.name not in ("azimuth", "polar")),
    outputs=(
        TensorSpec("image", DType.BYTES, (1,), "the object on white"),
        *_FOUND,
        _NOTES,
    ),
)

JOBS: dict[str, ModelSpec] = {spec.name: spec for spec in (ROTATE_OBJECT_STREAM, ROTATE_OBJECT, SEGMENT_OBJECT)}
"""The three jobs by name."""
