"""The client's own promises, on a transport that is an argument."""

from __future__ import annotations

import io
from collections.abc import Generator, Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, field, fields

import numpy as np
import pytest
from PIL import Image
from scripted_triton import event, texts

import respin_client
from respin import errors
from respin.contracts import JOBS, ROTATE_OBJECT, ROTATE_OBJECT_STREAM, SEGMENT_OBJECT
from respin.specs import Array
from respin_client import (
    Client,
    ContractMismatch,
    EncodedImage,
    InvalidInput,
    RotationEvent,
    RotationResult,
    SegmentationResult,
    request_from_photo,
)
from respin_client.results import PROGRESS
from respin_client.wire import Interface

REQUEST = request_from_photo(b"a photo", "laptop", azimuth=80)


@dataclass
class Loopback:
    """A transport that answers from memory."""

    answer: Mapping[str, Array] = field(default_factory=dict)
    calls: list[tuple[str, set[str], tuple[str, ...], float]] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    closed: bool = False

    def infer(
        self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str], timeout_s: float
    ) -> Mapping[str, Array]:
        self.calls.append((model, set(inputs), tuple(outputs), timeout_s))
        return self.answer

    def stream(
        self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str], timeout_s: float
    ) -> Generator[Mapping[str, Array], None, None]:
        yield self.infer(model, inputs, outputs, timeout_s)

    def metadata(self, model: str, timeout_s: float) -> Interface:
        self.compared.append(model)
        return Interface.of_contract(JOBS[model])

    def ready(self, model: str, timeout_s: float) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def test_every_answer_has_a_field_for_each_output_and_no_other():
    hidden = {"status"}
    for result, job in (
        (RotationResult, ROTATE_OBJECT),
        (SegmentationResult, SEGMENT_OBJECT),
        (RotationEvent, ROTATE_OBJECT_STREAM),
    ):
        assert {each.name for each in fields(result)} == {each.name for each in job.outputs} - hidden


def test_an_answer_is_typed_and_frozen():
    answer = {
        "image": texts(b"one", b"two"),
        "box": np.array([1, 2, 3, 4], np.float32),
        "score": np.array([0.5], np.float32),
        "phrase": texts("Wörter"),
        "notes": texts("a note"),
    }
    result = Client(transport=Loopback(answer)).rotate_object(REQUEST, outputs=tuple(answer))
    assert result == RotationResult(
        image=(EncodedImage(b"one"), EncodedImage(b"two")),
        box=(1.0, 2.0, 3.0, 4.0),
        score=0.5,
        phrase="Wörter",
        notes=("a note",),
    )
    with pytest.raises(FrozenInstanceError):
        result.score = 1.0


def test_an_event_of_all_views_names_none():
    first, second = (RotationEvent.from_arrays(event(view=view)) for view in (-1, 0))
    assert (first.view, second.view) == (None, 0)


def test_a_picture_decodes_itself_and_prints_short():
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(buffer, "PNG")
    picture = EncodedImage(buffer.getvalue())
    assert (picture.pil().size, picture.pil().getpixel((0, 0))) == ((3, 2), (255, 0, 0))
    assert repr(picture) == f"EncodedImage({len(picture)} bytes)"


def test_the_server_is_compared_with_the_contracts_once_and_before_the_first_job():
    transport = Loopback({"mask": texts(b"the mask")})
    client = Client(transport=transport)
    assert transport.compared == []
    client.segment_object(REQUEST)
    client.segment_object(REQUEST)
    assert transport.compared == list(JOBS)


def test_an_answer_that_breaks_the_contract_is_refused_in_words():
    transport = Loopback({"score": np.array([1], np.int32)})
    with pytest.raises(ContractMismatch, match="'score' has dtype int32, wanted float32"):
        Client(transport=transport).segment_object(REQUEST, outputs=("score",))


def test_a_call_takes_its_own_deadline_or_the_clients():
    transport = Loopback({"mask": texts(b"the mask")})
    client = Client(timeout_s=7, transport=transport)
    client.segment_object(REQUEST)
    client.segment_object(REQUEST, timeout_s=3)
    assert [timeout_s for *_, timeout_s in transport.calls] == [7, 3]


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan")])
def test_a_call_without_a_deadline_is_refused(timeout_s):
    with pytest.raises(InvalidInput, match="timeout_s is"):
        Client(timeout_s=timeout_s, transport=Loopback())
    with pytest.raises(InvalidInput, match="timeout_s is"):
        Client(transport=Loopback()).rotate_object(REQUEST, timeout_s=timeout_s)


@pytest.mark.parametrize("outputs", [(), ("picture",), ("image", "status"), ("stage",)])
def test_an_output_that_is_not_made_is_refused_before_anything_is_sent(outputs):
    transport = Loopback()
    with pytest.raises(InvalidInput, match="makes image, novel_view, mask"):
        Client(transport=transport).stream(REQUEST, outputs=outputs)
    assert transport.compared == []


def test_segmentation_leaves_the_angles_out():
    transport = Loopback({"mask": texts(b"the mask")})
    Client(transport=transport).segment_object(REQUEST)
    model, inputs, outputs, _ = transport.calls[0]
    assert (model, outputs) == ("segment_object", ("mask", "cut_out"))
    assert inputs == {each.name for each in SEGMENT_OBJECT.inputs} - {"box"}


def test_a_stream_always_says_how_far_it_is():
    transport = Loopback(event("done"))
    assert [each.stage for each in Client(transport=transport).stream(REQUEST, outputs=("mask",))] == ["done"]
    assert transport.calls[0][2] == (*PROGRESS, "mask")


def test_leaving_the_with_closes_the_connection():
    transport = Loopback()
    with Client(transport=transport):
        assert not transport.closed
    assert transport.closed


def test_a_photo_may_be_a_path_its_bytes_or_a_picture(tmp_path):
    picture = Image.new("RGB", (4, 3), "blue")
    path = tmp_path / "photo.png"
    picture.save(path)
    from_path, from_text, from_bytes, from_picture = (
        request_from_photo(photo, "laptop").image for photo in (path, str(path), path.read_bytes(), picture)
    )
    assert from_path == from_text == from_bytes
    assert Image.open(io.BytesIO(from_picture)).tobytes() == picture.tobytes()


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "F", "RGBA", "L", "P"])
def test_a_picture_of_any_mode_becomes_a_png(mode):
    request = request_from_photo(Image.new(mode, (4, 3)), "laptop")
    assert Image.open(io.BytesIO(request.image)).format == "PNG"


def test_a_picture_is_sent_upright():
    picture = Image.new("RGB", (4, 3))
    picture.getexif()[0x0112] = 6  # Orientation: turned by a quarter.
    assert Image.open(io.BytesIO(request_from_photo(picture, "laptop").image)).size == (3, 4)


def test_angles_may_be_one_or_several():
    assert request_from_photo(b"a photo", "laptop", 80).azimuth == (80.0,)
    several = request_from_photo(b"a photo", "laptop", np.array([-40, 40]), polar=5)
    assert (several.azimuth, several.polar) == ((-40.0, 40.0), (5.0, 5.0))


def test_a_photo_that_is_not_there_is_refused_in_words(tmp_path):
    with pytest.raises(InvalidInput, match=r"cannot read the photo '.*missing\.jpg' \(No such file"):
        request_from_photo(tmp_path / "missing.jpg", "laptop")


def test_everything_public_is_exported():
    public = {
        name
        for name, value in vars(respin_client).items()
        if getattr(value, "__module__", "").partition(".")[0].startswith("respin")
    }
    raised = {error.__name__ for error in (errors.RespinError, *errors.BY_GRPC_CODE.values())}
    assert set(respin_client.__all__) == public | raised
