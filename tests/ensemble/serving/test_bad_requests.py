"""Bad requests through the real server: one sentence, the right status, and nobody else is harmed."""

import queue
import re
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from photo_files import png_header
from PIL import Image
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from respin.contracts import JOBS, ROTATE_OBJECT_STREAM
from respin.errors import InvalidInput
from respin.request import RotationRequest

pytestmark = pytest.mark.triton

NEVER_SHOWN = re.compile(r"Traceback|\.py\b|/(root|home|usr|tmp|work)/|site-packages|line \d+")


def file_of(image: Image.Image, kind="PNG", **options) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))
GOOD = file_of(PHOTO)
FRAMES = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]

BAD = {
    "not an image": ({"image": b"GIF89a" + bytes(50)}, "not a JPEG, PNG or WebP picture"),
    "no bytes": ({"image": b""}, "image has 0 bytes"),
    "truncated": ({"image": GOOD[: len(GOOD) // 2]}, "broken or cut short"),
    "1x1": ({"image": file_of(Image.new("RGB", (1, 1)))}, "1 x 1 px"),
    "30,000 x 30,000": ({"image": png_header(30000, 30000)}, "30000 x 30000 px"),
    "ten times as wide": ({"image": file_of(Image.new("RGB", (640, 40)))}, "8 times the other"),
    "animated": ({"image": file_of(FRAMES[0], save_all=True, append_images=FRAMES[1:])}, "animation of 3 frames"),
    "empty name": ({"class_name": b""}, "class_name has 0 characters"),
    "blank name": ({"class_name": b" \t "}, "class_name is blank"),
    "10 kB name": ({"class_name": b"laptop " * 1500}, "class_name has 10500 characters; send 1 to 200"),
    "10 kB prompt": ({"background_prompt": b"table " * 1700}, "background_prompt has 10200 characters"),
    "name not UTF-8": ({"class_name": b"lap\xfftop"}, "class_name is not UTF-8"),
    "only stop words": ({"class_name": b"the of and"}, "only words that name no object"),
    "NaN azimuth": ({"azimuth": [np.nan]}, "azimuth is nan"),
    "infinite polar": ({"polar": [np.inf]}, "polar is inf"),
    "polar out of range": ({"polar": [120.0]}, "polar is 120; send -90 to 90"),
    "1,000 angles": ({"azimuth": [0.0] * 1000}, "azimuth has 1000 angles; send at most 64"),
    "lists of two lengths": ({"azimuth": [1.0, 2.0], "polar": [1.0, 2.0, 3.0]}, "lists of equal length"),
    "box outside": ({"box": [10.0, 10.0, 500.0, 50.0]}, "the photo 96 x 64 px"),
    "box inverted": ({"box": [50.0, 50.0, 10.0, 10.0]}, "x1 > x0"),
    "box of no area": ({"box": [10.0, 10.0, 10.0, 50.0]}, "0 px wide"),
    "box of NaN": ({"box": [np.nan, 0.0, 10.0, 10.0]}, "box is nan"),
    "seed below 0": ({"seed": -5}, "seed is -5"),
    "no steps": ({"steps": 0}, "steps is 0; send 2 to 250"),
    "unknown format": ({"output_format": b"bmp"}, "choose one of png, jpeg, webp"),
}


def tensors(**fields):
    fields = {"image": GOOD, "class_name": b"laptop", **fields}
    arrays = {
        name: np.array([value], np.object_)
        if isinstance(value, bytes)
        else np.atleast_1d(np.asarray(value, np.int64 if isinstance(value, int) else np.float32))
        for name, value in fields.items()
    }
    return [tensor(name, array) for name, array in arrays.items()]


def tensor(name, array):
    made = triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array)
    return made


def refusal(triton_client, inputs, model="rotate_object", **options):
    with pytest.raises(InferenceServerException) as caught:
        triton_client.infer(model, inputs, **options)
    message = caught.value.message()
    assert not NEVER_SHOWN.search(message), message
    return caught.value.status(), message


@pytest.mark.parametrize(("fields", "told"), BAD.values(), ids=BAD)
def test_a_bad_request_is_told_in_one_sentence(triton_client, fields, told):
    status, message = refusal(triton_client, tensors(**fields))
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert told in message


@pytest.mark.parametrize(("fields", "told"), [BAD["truncated"], BAD["box outside"]], ids=["truncated", "box outside"])
def test_segmentation_refuses_in_the_same_words(triton_client, fields, told):
    status, message = refusal(triton_client, tensors(**fields), model="segment_object")
    assert (status, told in message) == ("StatusCode.INVALID_ARGUMENT", True)


def test_a_stream_ends_with_the_same_words_and_a_true_status(client):
    with pytest.raises(InvalidInput, match=r"^image is broken or cut short"):
        list(client.stream(RotationRequest(BAD["truncated"][0]["image"], "laptop")))


def test_a_thousand_refused_streams_do_not_end_the_server(client, server):
    """With Triton's header `triton_grpc_error` one in some hundred crashed it."""
    request = RotationRequest(BAD["truncated"][0]["image"], "laptop")
    for _ in range(1000):
        with pytest.raises(InvalidInput, match="broken or cut short"):
            list(client.stream(request))
    assert server.is_running()


def test_an_object_that_is_not_there_is_not_found(triton_client):
    status, message = refusal(triton_client, tensors(class_name=b"unicorn", box_threshold=1.0))
    assert status == "StatusCode.NOT_FOUND"
    assert re.search(r"no 'unicorn' in the photo: best match \d\.\d\d, threshold 1\.00; name the object", message)


def test_an_unknown_parameter_is_refused_by_name(triton_client):
    status, message = refusal(triton_client, tensors(), parameters={"guidence": "3"})
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert "unknown parameter 'guidence'" in message


@pytest.mark.parametrize("model", [name for name, spec in JOBS.items() if not spec.decoupled])
def test_an_unknown_tensor_is_refused(triton_client, model):
    status, message = refusal(triton_client, [*tensors(), tensor("zoom", np.ones(1, np.float32))], model=model)
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert "zoom" in message


def test_an_unknown_tensor_is_refused_on_a_stream(triton_client):
    answers = queue.SimpleQueue()
    triton_client.start_stream(lambda result, error: answers.put(error))
    inputs = [*tensors(), tensor("zoom", np.ones(1, np.float32))]
    triton_client.async_stream_infer(ROTATE_OBJECT_STREAM.name, inputs)
    assert "zoom" in answers.get(timeout=60).message()
    triton_client.stop_stream()


@pytest.mark.parametrize(
    "wrong",
    [
        tensor("steps", np.ones(1, np.float32)),
        tensor("box", np.ones(3, np.float32)),
        tensor("azimuth", np.ones((1, 2), np.float32)),
    ],
    ids=["dtype", "length", "rank"],
)
def test_a_tensor_of_another_form_is_refused_by_name(triton_client, wrong):
    status, message = refusal(triton_client, [*tensors(), wrong])
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert wrong.name() in message


def test_a_missing_tensor_is_refused(triton_client):
    status, message = refusal(triton_client, tensors()[:1])
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert "class_name" in message or "expected" in message


@pytest.mark.parametrize(
    "convert",
    [
        lambda photo: file_of(photo.convert("CMYK"), "JPEG"),
        lambda photo: file_of(Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)),
        lambda photo: file_of(photo.convert("P")),
        lambda photo: file_of(photo.convert("RGBA"), "WEBP", lossless=True),
    ],
    ids=["CMYK", "16-bit", "palette", "WebP with alpha"],
)
def test_an_unusual_photo_is_answered(client, coffee, convert):
    photo = Image.open(BytesIO(coffee))
    result = client.segment_object(RotationRequest(convert(photo), "coffee cup", box=(165.0, 12.0, 428.0, 312.0)))
    assert result.mask.pil().size == photo.size


def test_good_requests_beside_bad_ones_are_unharmed(client, triton_client, turn):
    good = turn(azimuth=(80.0,))
    alone = client.rotate_object(good).image
    with ThreadPoolExecutor(12) as users:
        answers = [users.submit(client.rotate_object, good) for _ in range(4)]
        refusals = [users.submit(refusal, triton_client, tensors(**fields)) for fields, _ in BAD.values()]
    assert [answer.result().image for answer in answers] == [alone] * 4
    assert all(refused.result()[0] == "StatusCode.INVALID_ARGUMENT" for refused in refusals)
