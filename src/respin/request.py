"""The request: the options of a job, with their defaults and ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from respin.errors import InvalidInput
from respin.options import MAX_VIEWS, Option, shorten
from respin.specs import Array, TensorSpec

MAX_IMAGE_BYTES = 64 * 2**20
"""Size limit of an encoded photo, bytes."""

LARGEST_SIDE_PX = 8192
"""Longest side of a photo: the square that is cut round an object as long still fits into memory many times."""

SAMPLERS = ("ddim", "euler", "dpmpp_2m", "dpmpp_2m_karras", "unipc", "unipc_karras")
"""Names of the samplers, one of the ensemble for each."""

PRIORITIES = {"high": 0, "normal": 1, "low": 2}
"""Priorities of a request; a lower number goes first, and no priority waits for ever."""


def _required(kind: Any, meaning: str, **limits: Any) -> Any:
    return field(metadata={"option": Option(kind, meaning, required=True, **limits)})


def _option(default: Any, kind: Any, meaning: str, **limits: Any) -> Any:
    return field(default=default, metadata={"option": Option(kind, meaning, **limits)})


@dataclass(frozen=True)
class RotationRequest:
    """A request: one photo, the object's name, and the camera moves.

    The comment of each field is its `Option.meaning`; `docs/requests.md` prints them all. No angles at all means
    segmentation only. One angle list may be shorter than the other if it has one element or none: it is repeated
    (none counts as 0).

    Raises:
        InvalidInput: a value is not allowed, or two fields disagree.
    """

    image: bytes = _required("image", "JPEG, PNG or WebP file of the photo", smallest=1, largest=MAX_IMAGE_BYTES)
    class_name: str = _required("text", "name of the object, e.g. 'laptop'", smallest=1, largest=200)
    azimuth: tuple[float, ...] = _option(
        (), "angles", "camera moves in degrees; positive moves the camera right", smallest=-360, largest=360
    )
    polar: tuple[float, ...] = _option(
        (), "angles", "camera moves in degrees; positive moves the camera down", smallest=-90, largest=90
    )
    box: tuple[float, ...] | None = _option(
        None,
        "box",
        "(x0, y0, x1, y1) px of the upright photo; given, detection is skipped",
        # A detector's box may reach half its sides out of the photo, and what was found can be sent back.
        smallest=-LARGEST_SIDE_PX // 2,
        largest=LARGEST_SIDE_PX * 3 // 2,
    )
    seed: int = _option(0, "integer", "of all noise; same seed, same picture", smallest=0, largest=2**63 - 1)
    sampler: str = _option(
        "ddim", "choice", "of the novel view; those with karras in their name need the fewest steps", choices=SAMPLERS
    )
    steps: int = _option(75, "integer", "steps of the novel view", smallest=2, largest=250)
    guidance: float = _option(3.0, "number", "guidance scale of the novel view; 1 = none", smallest=1, largest=30)
    guidance_start: float = _option(
        0.0, "number", "share of the novel view's steps that pass before it is guided", smallest=0, largest=1
    )
    guidance_end: float = _option(
        1.0, "number", "share of the novel view's steps after which it is guided no more", smallest=0, largest=1
    )
    eta: float = _option(
        1.0,
        "number",
        "noise that ddim adds back to the novel view: 0 none, 1 as trained; the other samplers add none",
        smallest=0,
        largest=1,
    )
    background_prompt: str = _option(
        "empty background, clean scene", "text", "what to paint where the object stood", smallest=0, largest=1000
    )
    background_sampler: str = _option("ddim", "choice", "of the background; ddim adds no noise back", choices=SAMPLERS)
    background_steps: int = _option(50, "integer", "steps of the background", smallest=2, largest=250)
    background_guidance: float = _option(
        7.5, "number", "guidance scale of the background; 1 = none", smallest=1, largest=30
    )
    background_guidance_start: float = _option(
        0.0, "number", "share of the background's steps that pass before it is guided", smallest=0, largest=1
    )
    background_guidance_end: float = _option(
        1.0, "number", "share of the background's steps after which it is guided no more", smallest=0, largest=1
    )
    dilate_px: int = _option(
        50, "integer", "side of the square by which the hole is grown, px; 0 = none", smallest=0, largest=400
    )
    box_threshold: float = _option(0.35, "number", "least score of a detection", smallest=0, largest=1)
    text_threshold: float = _option(
        0.25, "number", "least score of a word to count as part of the phrase found", smallest=0, largest=1
    )
    mask_choice: str = _option(
        "single",
        "choice",
        "SAM's single answer, or the best of its three by predicted IoU",
        choices=("single", "best"),
    )
    fit: str = _option(
        "view",
        "choice",
        "paste at the size the novel view gives it, or fitted into the old box",
        choices=("view", "box"),
    )
    priority: str = _option(
        "normal",
        "choice",
        "whose steps go first where requests must share the networks",
        choices=tuple(PRIORITIES),
    )
    output_format: str = _option(
        "png", "choice", "of the pictures returned; png keeps every pixel", choices=("png", "jpeg", "webp")
    )

    def __post_init__(self) -> None:
        """Check every field, then bring both angle lists to the same length."""
        for name, option in OPTIONS.items():
            value = getattr(self, name)
            if name == "box" and value is None:
                continue
            option.check(name, value)
        if not self.class_name.strip():
            raise InvalidInput("class_name is blank; name the object, e.g. 'laptop'")
        _check_interval("guidance", self.guidance_start, self.guidance_end)
        _check_interval("background_guidance", self.background_guidance_start, self.background_guidance_end)
        azimuth, polar = _same_length(self.azimuth, self.polar)
        object.__setattr__(self, "azimuth", azimuth)
        object.__setattr__(self, "polar", polar)

    @property
    def views(self) -> int:
        """Number of camera moves; 0 = segmentation only."""
        return len(self.azimuth)

    def to_arrays(self) -> dict[str, Array]:
        """Return the wire tensors: every field, except a box of None."""
        values = {name: getattr(self, name) for name in OPTIONS}
        return {name: OPTIONS[name].to_array(value) for name, value in values.items() if value is not None}

    @staticmethod
    def check_shapes(arrays: Mapping[str, Array]) -> None:
        """Check the names and shapes of wire tensors, and the photo's length, before anything is read or copied.

        Raises:
            InvalidInput: a tensor is unknown, of another shape than the contract's, or too long.
        """
        if unknown := sorted(set(arrays) - set(OPTIONS)):
            raise InvalidInput(f"unknown input {shorten(unknown[0])!r}; the inputs are {', '.join(OPTIONS)}")
        for name, array in arrays.items():
            OPTIONS[name].check_shape(name, array.shape)
        if "image" in arrays:
            OPTIONS["image"].check("image", bytes(arrays["image"][0]))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> RotationRequest:
        """Read the wire tensors of a request; those left out take their defaults.

        Raises:
            InvalidInput: a tensor is unknown or missing, or its value is not allowed.
        """
        cls.check_shapes(arrays)
        required = {name for name, option in OPTIONS.items() if option.required}
        if missing := sorted(required - set(arrays)):
            raise InvalidInput(f"{missing[0]} is missing; every request carries {' and '.join(sorted(required))}")
        return cls(**{name: OPTIONS[name].from_array(name, array) for name, array in arrays.items()})


OPTIONS: dict[str, Option] = {each.name: each.metadata["option"] for each in fields(RotationRequest)}
"""Every field of a request by name."""

DEFAULTS: dict[str, Any] = {each.name: each.default for each in fields(RotationRequest)}
"""The default of every field that has one, by name."""


def request_tensors() -> tuple[TensorSpec, ...]:
    """Return the wire tensors of a request, in the order of the fields."""
    return tuple(option.tensor(name) for name, option in OPTIONS.items())


def _check_interval(name: str, start: float, end: float) -> None:
    if start > end:
        raise InvalidInput(f"{name}_start is {start:g} and {name}_end {end:g}; send a start that is not after the end")


def _same_length(azimuth: tuple[float, ...], polar: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Repeat a list of one element, or zeros for an empty one, to the length of the other."""
    views = max(len(azimuth), len(polar))
    if views == 0:
        return (), ()
    azimuth, polar = azimuth or (0.0,), polar or (0.0,)
    if not {len(azimuth), len(polar)} <= {1, views}:
        raise InvalidInput(
            f"azimuth has {len(azimuth)} angles and polar {len(polar)}; send lists of equal length "
            f"(at most {MAX_VIEWS}), or one angle of the kind that stays the same"
        )
    return azimuth * (views // len(azimuth)), polar * (views // len(polar))
