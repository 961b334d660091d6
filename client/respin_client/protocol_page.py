"""Write docs/protocol.md, the reference for clients in any language: `python -m respin_client.protocol_page [--check]`.

Tensors, ranges and errors come from the contracts. What no contract says, when an output is there and how a stream
ends, is written here, and a test compares it with a server.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from respin.contracts import JOBS, ROTATE_OBJECT, ROTATE_OBJECT_STREAM, SEGMENT_OBJECT
from respin.errors import BY_GRPC_CODE
from respin.limits import MAX_MESSAGE_BYTES
from respin.options import MAX_VIEWS
from respin.request import DEFAULTS, OPTIONS
from respin.specs import Axis, ModelSpec, TensorSpec

PAGE = Path("docs/protocol.md")

ALWAYS_PNG = ("mask", "cut_out")
"""Pictures that are PNG whatever `output_format` says: JPEG would blur a mask, and has no transparency."""

IN_OUTPUT_FORMAT = ("image", "novel_view", "background")
"""Pictures in the format that the request's `output_format` names."""

_ONCE_FOUND = "once, with stage `segmentation`"

PRESENCE: dict[str, dict[str, str]] = {
    ROTATE_OBJECT.name: {
        "image": "always: one element for each view, in the order of the angles; without angles one",
        "novel_view": "with angles: one element for each view, in their order",
        **dict.fromkeys(("mask", "cut_out", "box", "score", "phrase"), "always"),
        "background": "with angles",
        "notes": "always; it may have no element",
    },
    ROTATE_OBJECT_STREAM.name: {
        **dict.fromkeys(("stage", "view", "step", "steps"), "in every message but an error"),
        "image": "once for each view, as soon as it is done; without angles once, with stage `segmentation`",
        "novel_view": "with angles: in the same messages as `image`",
        **dict.fromkeys(("mask", "cut_out", "box", "score", "phrase"), _ONCE_FOUND),
        "background": "with angles: once, with stage `background`, before the first view",
        "notes": "once, with stage `done`; it may have no element",
        "status": "never",
    },
    SEGMENT_OBJECT.name: {
        **dict.fromkeys(("image", "mask", "cut_out", "box", "score", "phrase"), "always"),
        "notes": "always; it may have no element",
    },
}
"""When a response has an output that was asked for, by model."""

STAGES: dict[str, str] = {
    "detection": "the photo is read, and the object looked for unless the request has its box",
    "segmentation": "mask and cut-out; the message with the results comes once",
    "novel_view": "denoising, with `step` of `steps` for all views together; with `view` >= 0: that view is composed",
    "super_resolution": "one view, `view` >= 0, is being enlarged",
    "outline": "the object's outline in that view is being found",
    "composition": "the background is there, and that view is being pasted into it and encoded",
    "background": "the hole is being painted, with `step` of `steps`; the message with the result comes once",
    "done": "the last message of a job that succeeded",
}
"""Meaning of a message of each stage. A test compares the stages with the contract."""

_HTTP: dict[str, str] = {
    "INVALID_ARGUMENT": "400",
    "NOT_FOUND": "404",
    "UNAVAILABLE": "503",
    "CANCELLED": "400",
    "INTERNAL": "500",
}
"""HTTP statuses of what the server sends; the other codes come from the client or from gRPC itself."""

_REMEDIES: dict[str, str] = {
    "INVALID_ARGUMENT": "fix the request",
    "NOT_FOUND": "another name, a lower `box_threshold`, or a box; also sent for a model that Triton does not have",
    "UNAVAILABLE": "send it again, in the time that the message names",
    "CANCELLED": "nothing: the caller cancelled, or its deadline passed",
    "DEADLINE_EXCEEDED": "allow more time, or ask for less; from gRPC's own clock",
    "FAILED_PRECONDITION": "only raised by the Respin client: install the same version on both sides",
    "INTERNAL": "report it, with the reference that the message names",
}

_INTRODUCTION = """# Protocol

How to use Respin from any language. This page is written by `python -m respin_client.protocol_page` from the contracts
in `src/respin/contracts`; `--check` compares. [examples/](../examples/README.md) has clients to copy: Python, curl,
JavaScript, Go, FastAPI, a notebook.

Respin speaks the [KServe v2 protocol](https://github.com/kserve/open-inference-protocol) as NVIDIA Triton serves it:
gRPC service `inference.GRPCInferenceService`, port 8001. HTTP is off unless `respin serve --http-port` opens it, on
loopback.

| model | call | what it does |
|---|---|---|"""

_CALLS = """
## Send a request

* A photo travels as the bytes of its file, in a tensor of type `BYTES`. In `raw_input_contents` each element of such a
  tensor is preceded by its length, 4 bytes, little-endian; so are the pictures that come back.
* There is no batch axis: the shapes below are those on the wire. Leave out the inputs whose default you want.
* Name the outputs you need. A request that names none gets all of them, encoded and sent for nothing.
* The request parameter `timeout` (`int64_param`, microseconds) is the deadline that the server sees: it refuses at once
  what it cannot do in time, and stops a job when the time is over. A gRPC deadline does not reach a model; set both.
  Any other parameter of your own is refused.
* gRPC clients take answers of 4 MiB at most by default: raise the limit of received messages
  (`grpc.max_receive_message_length`) to @MESSAGE@ MiB. A request whose answer could be longer is refused.
* Leave out the output parameter `classification`: it crashes tritonserver 2.51.
* Cancel the gRPC call, or close its connection, and the job stops within one denoising step.
* Over HTTP, pictures need Triton's
  [binary tensor data](https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md);
  base64 in the JSON is not decoded. `rotate_object_stream` answers over gRPC only (HTTP: 501).
  Closing an HTTP connection does not stop the job, because Triton 2.51 does not report it: send `timeout`.

## Inputs

All three models take the same inputs, except that `segment_object` has no angles. Without any angle, `rotate_object`
and the stream cut the object out and stop there. If one list of angles has one element, or none, it is repeated to the
length of the other. Inputs of stages that a job does not reach change nothing.

| input | type | shape | default | range | meaning |
|---|---|---|---|---|---|"""

_PICTURES = """
## Pictures

| output | format | channels |
|---|---|---|
| `image`, `novel_view`, `background` | `output_format`: PNG, or JPEG or WebP at quality 95 | RGB, no alpha |
| `mask` | PNG, whatever `output_format` says | 8-bit grey: 255 on the object, 0 elsewhere |
| `cut_out` | PNG, whatever `output_format` says | RGBA, straight alpha: 255 on the object, 0 elsewhere |

`image`, `mask`, `cut_out` and `background` have the size of the upright photo: its EXIF orientation is applied and not
written again. `novel_view` is square, four times the network's side. A transparent photo is laid on white first. An RGB
profile of the photo is kept. `box` is in pixels of the upright photo, as the input of that name is.
"""

_STREAM = """
## Read the stream

`rotate_object_stream` answers one request with many messages. Each message but an error has `stage`, `view`, `step` and
`steps`, where they were asked for, and with them the results that became available.

| stage | what the message says |
|---|---|"""

_STREAM_RULES = """
* `view` is the index of the camera move that the message is about, from 0, and -1 where it is about all of them. Views
  come as they are done, not in order. `step` and `steps` are 0 where a stage has no steps.
* Of the steps before the last one, at most ten a second are sent, and none has to come. The beginning of each stage,
  the last step and all results always come; a result from a cache has no steps before it.
* The last message of every request, `done` or an error, has the response parameter `triton_final_response` = true; all
  others have false. It comes even if it carries none of the outputs that were asked for. There is no further, empty
  response: `enable_empty_final_response` of tritonclient (`triton_enable_empty_final_response`) changes nothing.
* Half-close the call after your request, and the server ends it after the last message. Read it to that end, after an
  error too: of a call that is cancelled in the moment of a message, tritonserver 2.51 now and then keeps the photo for
  good.
* An error is a message whose `error_message` begins with the gRPC status that a unary call would end with, a colon and
  a blank: `NOT_FOUND: no 'sofa' in the photo ...`. The call itself ends with `OK`, and other requests on it go on.
  Triton's own errors, of wrong types and names of tensors for instance, have no status in front.
* **Do not send the header `triton_grpc_error`**, which makes an error the status of its call: tritonserver 2.51 then
  crashes now and then where a request fails, also where it is the only one on its stream.

## Errors

The message is a sentence for people: what was received, what is expected, what to do. The code says who can act. Over
HTTP it is the `error` field of the JSON in the body.

| gRPC status | HTTP | what it means | what to do |
|---|---|---|---|"""

_END = """| `UNIMPLEMENTED` | 501 | the model `rotate_object_stream` answers with a stream | call `ModelStreamInfer` |

Wrong types, shapes and names of tensors are `INVALID_ARGUMENT` from Triton itself. The size of a photo is checked when
it is read.
"""


def protocol_page() -> str:
    """Return the page in Markdown."""
    calls = _CALLS.replace("@MESSAGE@", str(MAX_MESSAGE_BYTES // 2**20))
    lines = [_INTRODUCTION, *map(_model_row, JOBS.values()), calls, *map(_input_row, ROTATE_OBJECT.inputs)]
    lines += ["", "## Outputs"]
    for spec in JOBS.values():
        lines += _outputs(spec)
    lines += [_PICTURES.rstrip("\n"), _STREAM]
    lines += [f"| `{stage}` | {meaning} |" for stage, meaning in STAGES.items()]
    lines += [_STREAM_RULES, *map(_error_row, _REMEDIES), _END.rstrip("\n")]
    return "\n".join(lines) + "\n"


def _model_row(spec: ModelSpec) -> str:
    call = "`ModelStreamInfer`" if spec.decoupled else "`ModelInfer`"
    return f"| `{spec.name}` | {call} | {spec.summary} |"


def _input_row(tensor: TensorSpec) -> str:
    option, default = OPTIONS[tensor.name], DEFAULTS[tensor.name]
    shown = "required" if option.required else "none" if default in (None, ()) else f"`{default}`"
    limits = option.range_text.replace(" | ", ", ")
    return _row(f"`{tensor.name}`", tensor.dtype.value, _shape(tensor), shown, limits, option.meaning)


def _outputs(spec: ModelSpec) -> Iterator[str]:
    yield f"\n### {spec.name}\n"
    yield "| output | type | shape | when it is there | meaning |\n|---|---|---|---|---|"
    for tensor in spec.outputs:
        when = PRESENCE[spec.name][tensor.name]
        yield _row(f"`{tensor.name}`", tensor.dtype.value, _shape(tensor), when, tensor.meaning.replace(" | ", ", "))


def _shape(tensor: TensorSpec) -> str:
    return str([f"0..{MAX_VIEWS}" if isinstance(length, Axis) else length for length in tensor.shape]).replace("'", "")


def _error_row(code: str) -> str:
    meaning = (BY_GRPC_CODE[code].__doc__ or "").partition("\n")[0]
    return _row(f"`{code}`", _HTTP.get(code, "-"), meaning, _REMEDIES[code])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or compare it with `--check`, and return the exit status: 1 if it differs."""
    parser = argparse.ArgumentParser(prog="python -m respin_client.protocol_page", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page differs")
    parser.add_argument("--page", type=Path, default=PAGE, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    if not options.check:
        options.page.write_text(protocol_page())
        return 0
    if options.page.is_file() and options.page.read_text() == protocol_page():
        return 0
    print(f"{options.page}: differs from the contracts; run python -m respin_client.protocol_page", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
