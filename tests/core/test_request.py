"""The request: what may be asked, and how a wrong one is told."""

import numpy as np
import pytest

from respin.contracts import JOBS
from respin.errors import InvalidInput
from respin.request import DEFAULTS, OPTIONS, RotationRequest


def request(**fields):
    return RotationRequest(**{"image": b"photo", "class_name": "laptop", **fields})


def test_a_request_survives_the_wire():
    sent = request(azimuth=(80.0, -40.0), polar=(0.0,), box=(1.0, 2.0, 30.0, 40.0), seed=2**62, fit="box")
    assert RotationRequest.from_arrays(sent.to_arrays()) == sent


def test_what_is_left_out_takes_its_default():
    arrays = {name: array for name, array in request().to_arrays().items() if name in ("image", "class_name")}
    assert RotationRequest.from_arrays(arrays) == request()


def test_a_request_without_angles_asks_for_no_view():
    assert request().views == 0


@pytest.mark.parametrize(
    ("azimuth", "polar", "moves"),
    [
        ((80.0,), (), [(80, 0)]),
        ((), (-10.0,), [(0, -10)]),
        ((0.0, 90.0, 180.0), (5.0,), [(0, 5), (90, 5), (180, 5)]),
        ((10.0,), (1.0, 2.0), [(10, 1), (10, 2)]),
    ],
    ids=["azimuth alone", "polar alone", "one polar for all", "one azimuth for all"],
)
def test_the_shorter_list_of_angles_is_repeated(azimuth, polar, moves):
    made = request(azimuth=azimuth, polar=polar)
    assert list(zip(made.azimuth, made.polar, strict=True)) == moves


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"azimuth": (float("nan"),)}, "azimuth is nan; send a finite number from -360 to 360"),
        ({"polar": (float("inf"),)}, "polar is inf"),
        ({"polar": (91.0,)}, "polar is 91; send -90 to 90"),
        ({"azimuth": (0.0,) * 1000}, "azimuth has 1000 angles; send at most 64"),
        ({"azimuth": (1.0, 2.0), "polar": (1.0, 2.0, 3.0)}, "lists of equal length"),
        ({"class_name": ""}, "class_name has 0 characters"),
        ({"class_name": "lap\ud800top"}, "class_name holds half of a surrogate pair"),
        ({"class_name": "   "}, "class_name is blank"),
        ({"class_name": "x" * 10_000}, "class_name has 10000 characters; send 1 to 200"),
        ({"background_prompt": "x" * 10_000}, "background_prompt has 10000 characters"),
        ({"image": b""}, "image has 0 bytes"),
        ({"box": (1.0, 2.0, 3.0)}, "box has 3 numbers; send 4"),
        ({"box": (-5000.0, 0.0, 10.0, 10.0)}, "box is -5000; send -4096 to 12288"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 10**5000}, "seed is a number of 16610 bits; send 0 to"),
        ({"seed": "7"}, r"seed is '7' \(str\); send a whole number"),
        ({"steps": 2.5}, r"steps is 2.5 \(float\); send a whole number"),
        ({"steps": True}, r"steps is True \(bool\); send a whole number"),
        ({"guidance": None}, r"guidance is None \(NoneType\); send a number"),
        ({"guidance": 10**400}, "guidance is a number of 1329 bits; send 1 to 30"),
        ({"azimuth": 80.0}, r"azimuth is 80.0 \(float\); send a tuple of numbers"),
        ({"azimuth": ("80",)}, r"azimuth is '80' \(str\); send numbers"),
        ({"box": (1.0, 2.0, None, 4.0)}, r"box is None \(NoneType\); send numbers"),
        ({"class_name": b"laptop"}, r"class_name is b'laptop' \(bytes\); send text"),
        ({"image": "photo.jpg"}, r"image is 'photo.jpg' \(str\); send the bytes of a file"),
        ({"fit": 5}, r"fit is 5 \(int\); send text"),
        ({"steps": 1}, "steps is 1; send 2 to 250"),
        ({"steps": 10_000}, "steps is 10000"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"sampler": "dpm"}, "sampler is 'dpm'; choose one of ddim, euler, dpmpp_2m"),
        ({"background_sampler": ""}, "background_sampler is ''; choose one of ddim"),
        ({"guidance_end": 1.5}, "guidance_end is 1.5; send 0 to 1"),
        (
            {"guidance_start": 0.8, "guidance_end": 0.2},
            "^guidance_start is 0.8 and guidance_end 0.2; send a start that is not after the end",
        ),
        ({"background_guidance_start": 0.8, "background_guidance_end": 0.2}, "^background_guidance_start is 0.8 and"),
        ({"output_format": "gif"}, "output_format is 'gif'; choose one of png, jpeg, webp"),
        ({"fit": ""}, "fit is ''; choose one of view, box"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "-".join(value),
)
def test_a_field_that_holds_what_it_may_not_is_told_in_words(fields, told):
    with pytest.raises(InvalidInput, match=told):
        request(**fields)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"class_name": np.array([b"\xff\xfe"], np.object_)}, "class_name is not UTF-8"),
        ({"zoom": np.ones(1, np.float32)}, "unknown input 'zoom'; the inputs are image, class_name"),
        ({"steps": np.ones(2, np.int64)}, r"steps has shape \[2\]; send shape \[1\]"),
        ({"image": None}, "image is missing"),
    ],
    ids=["not UTF-8", "unknown", "shape", "missing"],
)
def test_tensors_that_are_no_request_are_told_in_words(change, told):
    arrays = {**request().to_arrays(), **change}
    with pytest.raises(InvalidInput, match=told):
        RotationRequest.from_arrays({name: array for name, array in arrays.items() if array is not None})


def test_every_default_lies_in_its_own_range():
    for name, option in OPTIONS.items():
        if not option.required and DEFAULTS[name] is not None:
            option.check(name, DEFAULTS[name])


@pytest.mark.parametrize("job", JOBS.values(), ids=lambda job: job.name)
def test_a_job_takes_what_a_request_carries(job):
    fields = {spec.name for spec in job.inputs}
    assert fields <= set(OPTIONS)
    assert {spec.name for spec in job.inputs if not spec.optional} == {"image", "class_name"}
