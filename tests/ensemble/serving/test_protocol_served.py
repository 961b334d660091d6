"""What docs/protocol.md says beyond the contracts is what the server does."""

from io import BytesIO

import grpc
import numpy as np
import pytest
from PIL import Image
from tritonclient.grpc import service_pb2_grpc

from respin.contracts import JOBS, ROTATE_OBJECT_STREAM, SEGMENT_OBJECT
from respin_client.protocol_page import ALWAYS_PNG, IN_OUTPUT_FORMAT, PRESENCE, STAGES
from respin_client.wire import arrays_from_message, message_from_arrays

pytestmark = pytest.mark.triton

PROGRESS = ("stage", "view", "step", "steps")
FINISHING = ("super_resolution", "outline", "composition")
TIMEOUT_S = 60


@pytest.fixture
def stub(local_server):
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(str(local_server.endpoints["gRPC"]), options) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def message(spec, request, outputs=None, name=""):
    taken = {tensor.name for tensor in spec.inputs}
    arrays = {name: array for name, array in request.to_arrays().items() if name in taken and array.size}
    wanted = [output.name for output in spec.outputs] if outputs is None else outputs
    made = message_from_arrays(spec.name, arrays, wanted, TIMEOUT_S)
    made.id = name
    return made


def stream(stub, *messages):
    return list(stub.ModelStreamInfer(iter(messages), timeout=TIMEOUT_S))


def is_final(answer) -> bool:
    return answer.infer_response.parameters["triton_final_response"].bool_param


@pytest.mark.parametrize("azimuth", [(40.0, 80.0), ()], ids=["with_angles", "without"])
@pytest.mark.parametrize("spec", [spec for spec in JOBS.values() if not spec.decoupled], ids=lambda spec: spec.name)
def test_a_unary_answer_has_the_outputs_that_the_page_says(stub, turn, spec, azimuth):
    answer = arrays_from_message(stub.ModelInfer(message(spec, turn(azimuth=azimuth)), timeout=TIMEOUT_S))
    with_angles = bool(azimuth) and spec is not SEGMENT_OBJECT
    expected = {name for name, when in PRESENCE[spec.name].items() if with_angles or not when.startswith("with angles")}
    assert answer.keys() == expected
    assert answer["image"].shape == (2 if with_angles else 1,)


def test_the_messages_of_a_stream_are_those_of_the_page(stub, turn):
    request = turn(azimuth=(40.0, 80.0), steps=20)
    answers = stream(stub, message(ROTATE_OBJECT_STREAM, request))
    events = [arrays_from_message(answer.infer_response) for answer in answers]
    assert [is_final(answer) for answer in answers] == [False] * (len(answers) - 1) + [True]
    assert all(set(PROGRESS) <= event.keys() for event in events)
    stages = [event["stage"].item().decode() for event in events]
    assert set(stages) <= set(STAGES)
    assert stages[-1] == "done"
    came = [
        (name, stage) for event, stage in zip(events, stages, strict=True) for name in event if name not in PROGRESS
    ]
    found = [(name, "segmentation") for name in ("mask", "cut_out", "box", "score", "phrase")]
    views = [("image", "novel_view"), ("novel_view", "novel_view")] * 2
    assert sorted(came) == sorted([*found, *views, ("background", "background"), ("notes", "done")])
    assert sorted(event["view"].item() for event in events if "image" in event) == [0, 1]
    of_all_views = [event for event, stage in zip(events, stages, strict=True) if "image" not in event]
    of_all_views = [event for event in of_all_views if event["stage"].item().decode() not in FINISHING]
    assert {event["view"].item() for event in of_all_views} == {-1}
    assert max(event["steps"].item() for event in events) == 2 * 19, "zero123's list of 20 has 19 steps, of two views"


def test_beginnings_and_last_steps_always_come(stub, turn):
    answers = stream(
        stub, message(ROTATE_OBJECT_STREAM, turn(azimuth=(40.0, 80.0, 120.0), steps=20, seed=31), PROGRESS)
    )
    events = [
        tuple(event[name].item() for name in PROGRESS)
        for event in (arrays_from_message(answer.infer_response) for answer in answers)
    ]
    for view in range(3):
        stages = [stage.decode() for stage, of, *_ in events if of == view]
        assert stages == [*FINISHING, "novel_view"]
    steps = {stage: (step, of) for stage, _, step, of in events if of}
    assert steps == {b"novel_view": (3 * 19, 3 * 19), b"background": (2, 2)}


def test_without_angles_the_image_comes_with_the_segmentation(stub, turn):
    answers = stream(stub, message(ROTATE_OBJECT_STREAM, turn(), (*PROGRESS, "image", "novel_view", "background")))
    events = [arrays_from_message(answer.infer_response) for answer in answers]
    assert [event["stage"].item() for event in events if event.keys() - PROGRESS] == [b"segmentation"]
    assert [event.keys() - PROGRESS for event in events if event.keys() - PROGRESS] == [{"image"}]


@pytest.mark.parametrize("wish", [None, True, False])
@pytest.mark.parametrize("output", ["image", "status"])
def test_the_last_message_comes_with_or_without_outputs_and_there_is_no_other(stub, turn, output, wish):
    asked = message(ROTATE_OBJECT_STREAM, turn(), [output])
    if wish is not None:
        asked.parameters["triton_enable_empty_final_response"].bool_param = wish
    answers = stream(stub, asked)
    assert [is_final(answer) for answer in answers if not answer.infer_response.outputs] == [True]
    assert [is_final(answer) for answer in answers].count(True) == 1
    assert not any("status" in arrays_from_message(answer.infer_response) for answer in answers)


def test_an_error_begins_with_its_status_and_ends_nothing_else_on_its_stream(stub, turn):
    good = message(ROTATE_OBJECT_STREAM, turn(), ["stage"], "good")
    wrong = message(ROTATE_OBJECT_STREAM, turn(box=(0.0, 0.0, 8000.0, 8000.0)), ["stage"], "wrong")
    answers = stream(stub, wrong, good)
    errors = [answer for answer in answers if answer.error_message]
    assert [(answer.infer_response.id, is_final(answer)) for answer in errors] == [("wrong", True)]
    assert errors[0].error_message.startswith("INVALID_ARGUMENT: box ")
    assert "send a box inside the photo" in errors[0].error_message
    assert [answer.infer_response.id for answer in answers if is_final(answer) and not answer.error_message] == ["good"]


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_masks_and_cut_outs_are_png_whatever_the_output_format(client, turn, output_format):
    request = turn(azimuth=(80.0,), output_format=output_format)
    answer = client.rotate_object(request, outputs=(*ALWAYS_PNG, *IN_OUTPUT_FORMAT))
    formats = {
        name: Image.open(BytesIO(picture[0] if isinstance(picture, tuple) else picture)).format
        for name in (*ALWAYS_PNG, *IN_OUTPUT_FORMAT)
        if (picture := getattr(answer, name))
    }
    assert formats == {**dict.fromkeys(ALWAYS_PNG, "PNG"), **dict.fromkeys(IN_OUTPUT_FORMAT, output_format.upper())}
    assert answer.mask is not None
    assert answer.cut_out is not None
    mask, cut_out = np.asarray(answer.mask.pil()), np.asarray(answer.cut_out.pil())
    assert set(np.unique(mask)) == {0, 255}
    assert (cut_out[..., 3] == mask).all()
    assert answer.image[0].pil().mode == "RGB"


def test_a_stream_is_not_for_unary_calls(stub, turn):
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(message(ROTATE_OBJECT_STREAM, turn()), timeout=TIMEOUT_S)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
