"""Messages that no client library would send: refused in words, by processes that live on."""

import json
import struct
import urllib.error
import urllib.request
from dataclasses import replace

import grpc
import numpy as np
import pytest
from mini_server import serve
from refusals import assert_shows_nothing
from tritonclient.grpc import service_pb2, service_pb2_grpc

from respin.bundled import bundled_path
from respin.contracts import JOBS, NETWORKS
from respin.errors import code_from_stream_text
from respin.specs import Axis
from respin_server.launcher import EmbeddedTriton
from respin_server.stubs import living_instances

pytestmark = pytest.mark.triton

PHOTO = (bundled_path("examples") / "coffee.png").read_bytes()
WRAPS = 2**62
"""Elements of four bytes whose total, in 64 bits, wraps to 0."""


def text(value: bytes) -> tuple[str, list[int], bytes]:
    return "BYTES", [1], struct.pack("<I", len(value)) + value


JOB_INPUTS = {
    "image": text(PHOTO),
    "class_name": text(b"coffee cup"),
    "box": ("FP32", [4], np.array([165, 12, 428, 312], np.float32).tobytes()),
    "steps": ("INT64", [1], struct.pack("<q", 2)),
    "background_steps": ("INT64", [1], struct.pack("<q", 2)),
}


def message(model, inputs, outputs, **parameters):
    made = service_pb2.ModelInferRequest(model_name=model)
    for name, (datatype, shape, raw) in inputs.items():
        made.inputs.add(name=name, datatype=datatype, shape=shape)
        made.raw_input_contents.append(raw)
    for name in outputs:
        made.outputs.add(name=name)
    for name, value in parameters.items():
        kind = {str: "string_param", int: "int64_param", float: "double_param"}[type(value)]
        setattr(made.parameters[name], kind, value)
    return made


@pytest.fixture(scope="session")
def connect():
    def stub_of(server):
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        return service_pb2_grpc.GRPCInferenceServiceStub(
            grpc.insecure_channel(str(server.endpoints["gRPC"]), unlimited)
        )

    return stub_of


@pytest.fixture
def ask(connect):
    """The status and the words of a server's refusal; the answer's outputs where it does not refuse."""

    def answer(server, made):
        stub = connect(server)
        try:
            if made.model_name == "rotate_object_stream":
                responses = list(stub.ModelStreamInfer(iter([made]), timeout=60))
                for each in responses:
                    if each.error_message:
                        assert_shows_nothing(each.error_message)
                        code, said = code_from_stream_text(each.error_message)
                        # What Triton itself refuses on a stream is a text without a status.
                        return code if said != each.error_message else "INVALID_ARGUMENT", said
                return "OK", [output.name for each in responses for output in each.infer_response.outputs]
            return "OK", [output.name for output in stub.ModelInfer(made, timeout=60).outputs]
        except grpc.RpcError as error:
            assert_shows_nothing(error.details())
            return error.code().name, error.details()

    return answer


@pytest.mark.parametrize("model", ["rotate_object", "rotate_object_stream"])
@pytest.mark.parametrize(
    ("shape", "raw"),
    [([WRAPS], b""), ([WRAPS + 1], bytes(4)), ([20_000_000], bytes(80_000_000))],
    ids=["wraps to nothing", "wraps to one element", "80 MB of angles"],
)
def test_angles_beyond_all_bounds_are_refused_and_the_process_lives_on(server, ask, model, shape, raw):
    before = living_instances(server.pid)
    bad = message(model, {**JOB_INPUTS, "azimuth": ("FP32", shape, raw)}, ["image"])
    status, said = ask(server, bad)
    assert (status, "azimuth has" in said) == ("INVALID_ARGUMENT", True), said
    status, said = ask(server, message(model, JOB_INPUTS, ["image"]))
    assert (status, "image" in said) == ("OK", True)
    assert living_instances(server.pid) == before


def huge(spec):
    """A shape of a tensor's free axes whose bytes wrap to 0; None if it has too few of them."""
    free = [index for index, length in enumerate(spec.shape) if isinstance(length, Axis)]
    shape = [1, *(1 if isinstance(length, Axis) else length for length in spec.shape)]
    for index in free:
        shape[1 + index] = 2**62 if len(free) == 1 else 2**31
    return shape if free else None


@pytest.mark.parametrize(
    ("network", "tensor"),
    [(name, each.name) for name, spec in NETWORKS.items() for each in spec.inputs if huge(each)],
)
def test_a_network_refuses_a_shape_beyond_all_bounds_and_lives_on(cpu_server, ask, network, tensor):
    before = living_instances(cpu_server.pid)
    spec = NETWORKS[network]
    inputs = {
        each.name: (each.dtype.value, *_smallest(each)) if each.name != tensor else ("FP32", huge(each), b"")
        for each in spec.inputs
    }
    status, said = ask(cpu_server, message(network, inputs, [spec.outputs[0].name]))
    assert (status, tensor in said) == ("INVALID_ARGUMENT", True), said
    assert living_instances(cpu_server.pid) == before


def _smallest(spec):
    shape = [1, *(length.smallest if isinstance(length, Axis) else length for length in spec.shape)]
    return shape, np.zeros(shape, spec.dtype.numpy).tobytes()


@pytest.mark.parametrize(
    ("name", "tensor"),
    {
        "a length that lies": ("image", ("BYTES", [1], struct.pack("<I", 2**31) + b"abc")),
        "two elements in place of one": ("image", ("BYTES", [1], text(b"a")[2] * 2)),
        "no element": ("class_name", ("BYTES", [0], b"")),
        "half a number": ("steps", ("INT64", [1], bytes(4))),
        "another rank": ("class_name", ("BYTES", [1, 1], text(b"cup")[2])),
        "another type": ("class_name", ("INT64", [1], bytes(8))),
        "a negative length": ("box", ("FP32", [-4], bytes(16))),
    }.values(),
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("model", JOBS)
def test_bytes_and_shape_that_disagree_are_refused(server, ask, model, name, tensor):
    before = living_instances(server.pid)
    status, said = ask(server, message(model, {**JOB_INPUTS, name: tensor}, ["image"]))
    assert (status, name in said) == ("INVALID_ARGUMENT", True), said
    assert living_instances(server.pid) == before


def test_a_network_answers_beside_a_request_of_another_shape(cpu_server, ask):
    good = ("FP32", [1, 3, 32, 32], bytes(4 * 3 * 32 * 32))
    status, said = ask(cpu_server, message("edsr", {"image": ("FP32", [1, 3, 0, 32], b"")}, ["upscaled"]))
    assert (status, "'image' has shape (3, 0, 32) a sample" in said) == ("INVALID_ARGUMENT", True)
    assert ask(cpu_server, message("edsr", {"image": good}, ["upscaled"])) == ("OK", ["upscaled"])


INTERNAL = ("job", "in_band", "cancel", "alive")


@pytest.mark.parametrize("model", JOBS)
@pytest.mark.parametrize("name", [*INTERNAL, *(f"triton_respin_{name}" for name in INTERNAL)])
@pytest.mark.parametrize("value", ["", "x"], ids=["empty", "text"])
def test_parameters_of_calls_within_the_server_are_refused_to_clients(server, ask, model, name, value):
    status, said = ask(server, message(model, JOB_INPUTS, ["image"], **{name: value}))
    assert status == "INVALID_ARGUMENT"
    assert "/" not in said, said


def test_https_generate_lets_no_internal_parameter_through(tmp_path):
    options = replace(serve("local", tmp_path, exit_timeout_s=1).options, http_port=0)
    with EmbeddedTriton(options) as server:
        url = f"http://{server.endpoints['HTTP']}/v2/models/rotate_object_stream/generate_stream"
        for name in INTERNAL:
            body = json.dumps({"image": "x", "class_name": "cup", f"triton_respin_{name}": "x"}).encode()
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(urllib.request.Request(url, body), timeout=60)
            assert f"unknown parameter 'triton_respin_{name}'" in caught.value.read().decode()


@pytest.mark.parametrize("model", JOBS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_a_parameter_that_is_no_number_is_refused_by_name(server, ask, model, value):
    status, said = ask(server, message(model, JOB_INPUTS, ["image"], guidence=value))
    assert (status, "guidence" in said) == ("INVALID_ARGUMENT", True), said


@pytest.mark.parametrize("model", JOBS)
def test_a_negative_timeout_is_refused(server, ask, model):
    status, said = ask(server, message(model, JOB_INPUTS, ["image"], timeout=-5))
    assert (status, said) == ("INVALID_ARGUMENT", "timeout is -5 microseconds; send a number above 0, or none")


@pytest.mark.parametrize("model", JOBS)
def test_what_a_caller_wrote_is_shortened_in_a_refusal(server, ask, model):
    long = {**JOB_INPUTS, "output_format": text(b"x" * 100_000)}
    status, said = ask(server, message(model, long, ["image"]))
    assert (status, len(said) < 200, "choose one of png" in said) == ("INVALID_ARGUMENT", True, True)
    status, said = ask(server, message(model, JOB_INPUTS, ["image"], **{"y" * 100_000: "z"}))
    assert (status, len(said) < 1000, "unknown parameter" in said) == ("INVALID_ARGUMENT", True, True)
