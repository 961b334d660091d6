"""Stages that are broken on purpose: each has to fail the measure that watches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from respin.contracts.networks import CLIP_VISION, EDSR, GROUNDING_DINO, SAM_DECODER, VAE_ENCODER, ZERO123_UNET
from respin.model_set import Sizes
from respin.report.markdown import table, write_section
from respin.scenes import render_scene
from respin.specs import Array, ModelSpec
from respin_benchmarks.quality.jobs import outputs_in_process, request_for
from respin_benchmarks.quality.judge import judge_outputs
from respin_benchmarks.quality.measures import BY_NAME, Measure
from respin_benchmarks.quality.page import BROKEN_SECTION, ensure_page
from respin_benchmarks.quality.rows import SceneRow, mean_of
from respin_benchmarks.quality.session import RunJob, outputs_or_failure, row_of
from respin_benchmarks.quality.tolerances import REQUEST, SEEDS, TOLERANCES
from respin_ensemble.networks import Networks
from respin_ensemble.networks.onnx import OnnxNetworks
from respin_ensemble.stages.detection import IMAGENET_MEAN, IMAGENET_STD
from respin_ensemble.stages.vae import LATENT_SCALE

Alteration = tuple[ModelSpec, str, Callable[[Array], Array]]
"""A network, one of its inputs, and what makes the array that it gets from the one that its stage sends."""

MIRRORED = (1.0, -1.0, 1.0, 1.0)
"""The camera's four numbers with the sine of the azimuth negated."""


class AlteredNetworks:
    """Networks of which one gets another input than its stage sends.

    Args:
        networks: the networks that answer.
        alteration: alteration of one of them.
    """

    def __init__(self, networks: Networks, alteration: Alteration) -> None:
        self._networks, self._alteration = networks, alteration

    @property
    def sizes(self) -> Sizes:
        """Sizes of the set's images."""
        return self._networks.sizes

    def for_job(self, check: Callable[[], None]) -> AlteredNetworks:
        """See `Networks`."""
        return AlteredNetworks(self._networks.for_job(check), self._alteration)

    def __call__(self, spec: ModelSpec, **arrays: Array) -> dict[str, Array]:
        """See `Networks`."""
        altered, tensor, alter = self._alteration
        if spec is altered:
            arrays[tensor] = np.ascontiguousarray(alter(arrays[tensor]), np.float32)
        return self._networks(spec, **arrays)


@dataclass(frozen=True, eq=False)
class BrokenStage:
    """One mistake.

    Args:
        title: the mistake in words.
        measure: name of the measure that has to fail.
        alteration: alteration of a network's input; None if the request is what is wrong.
        options: fields of the request that are wrong.
    """

    title: str
    measure: str
    alteration: Alteration | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def networks(self, networks: Networks) -> Networks:
        """Return the networks with the mistake."""
        return AlteredNetworks(networks, self.alteration) if self.alteration else networks


def _plus(array: Array, offset: Array) -> Array:
    return np.asarray(array + offset.reshape(-1, 1, 1))


def _times(array: Array, factor: float | tuple[float, ...]) -> Array:
    return np.asarray(array * np.asarray(factor, np.float32))


def _reversed_channels(image: Array) -> Array:
    return image[:, ::-1]


BROKEN_STAGES = (
    BrokenStage(
        "ImageNet mean not subtracted",
        "box_iou",
        (GROUNDING_DINO, "image", partial(_plus, offset=IMAGENET_MEAN / IMAGENET_STD)),
    ),
    # Of SAM only the frame of the box: trained on shifted colours, it forgives every mistake with its image's levels.
    BrokenStage("SAM's box twice as far", "mask_iou", (SAM_DECODER, "box", partial(_times, factor=2.0))),
    BrokenStage("red and blue swapped before the VAE", "colour_error", (VAE_ENCODER, "image", _reversed_channels)),
    BrokenStage("red and blue swapped before EDSR", "colour_error", (EDSR, "image", _reversed_channels)),
    BrokenStage("wrong sign of azimuth", "view_psnr", (CLIP_VISION, "camera", partial(_times, factor=MIRRORED))),
    BrokenStage(
        f"condition latents times {LATENT_SCALE}",
        "view_psnr",
        (ZERO123_UNET, "image_latents", partial(_times, factor=LATENT_SCALE)),
    ),
    BrokenStage("mask not grown for inpainting", "ghost", options={"dilate_px": 0}),
)
"""All mistakes; the measure of each is one of `TOLERANCES`."""

AS_BUILT = BrokenStage("as built", "")


def rows_in_process(networks: Networks, stage: BrokenStage) -> list[SceneRow]:
    """Run the regression tests' jobs in this process, with a mistake."""
    return rows_of(partial(outputs_in_process, stage.networks(networks)), networks.sizes, stage.options)


def rows_of(job: RunJob, sizes: Sizes, options: Mapping[str, Any] = MappingProxyType({})) -> list[SceneRow]:
    """Run the regression tests' jobs: `REQUEST` on the scenes of `SEEDS`.

    Args:
        job: runs one.
        sizes: sizes of the set.
        options: further fields of the request.
    """
    rows = []
    for scene in map(render_scene, SEEDS):
        outputs, failure = outputs_or_failure(job, request_for(scene, **{**REQUEST, **options}))
        pair = scene.views(side=sizes.view_side, object_share=sizes.object_share)
        figures = judge_outputs(scene, outputs, pair, {"copy": pair.before}, sizes)
        rows.append(row_of(scene, figures, failure=failure))
    return rows


def holds(name: str, rows: Sequence[SceneRow]) -> bool | None:
    """Whether a measure is within its tolerance; None if no tolerance is set yet.

    A measure that no scene has, because every job failed, is not within any.
    """
    limit = TOLERANCES[name]
    return None if limit is None else BY_NAME[name].reaches(mean_of(rows, name), limit)


def report(folder: Path, *, page: Path | None, device: str) -> str:
    """Measure every broken stage, update the page's section, and return the table.

    Args:
        folder: folder of the set.
        page: Markdown file to update or create; None = none.
        device: "cpu" or "cuda".
    """
    if page:
        ensure_page(page)
    networks = OnnxNetworks.from_set(folder, device=device)
    stages = (AS_BUILT, *BROKEN_STAGES)
    measured = {
        stage: rows_in_process(networks, stage)
        for stage in track(stages, "broken stages", console=Console(stderr=True))
    }
    text = broken_text(measured)
    if page:
        write_section(page, BROKEN_SECTION, text)
    return text


def broken_text(measured: Mapping[BrokenStage, Sequence[SceneRow]]) -> str:
    """Return the table of measures by stage; what is outside its tolerance is bold.

    Args:
        measured: the rows of each stage, with those of `AS_BUILT`.
    """
    columns = [BY_NAME[name] for name in TOLERANCES]
    asked = ", ".join(f"{name} {value}" for name, value in REQUEST.items())
    lines = [
        f"`respin quality --broken-stages`: {len(SEEDS)} held-out scenes, in one process; {asked}. Bold: outside the "
        "tolerance. A dash: no job returned a picture.",
        "",
        *table(
            ("stage", "has to fail", *(measure.title for measure in columns)),
            [
                *(_line(stage, rows, columns) for stage, rows in measured.items()),
                ["tolerance", "", *(_limit(measure, TOLERANCES[measure.name]) for measure in columns)],
                ["halfway", "", *(_limit(measure, halfway(measure, measured)) for measure in columns)],
            ],
        ),
        "",
        "Halfway: between the result as built and the closest stage that has to fail the measure, for setting "
        "tolerances. The tests hold the served job to them, and each broken stage, in one process, against them "
        "(tests/ensemble/serving/test_mini_quality.py). A mask that is not grown leaves more of the photo as it was: "
        "composites are closer, with the outline of the old object in them.",
    ]
    return "\n".join(lines) + "\n"


def halfway(measure: Measure, measured: Mapping[BrokenStage, Sequence[SceneRow]]) -> float | None:
    """Return the value between the result as built and that of the closest stage that has to fail; None without one."""
    values = [measure.value(rows) for stage, rows in measured.items() if stage.measure == measure.name]
    numbers = [value for value in values if not np.isnan(value)]
    if not numbers or AS_BUILT not in measured:
        return None
    closest = min(numbers) if measure.less_is_better else max(numbers)
    return (measure.value(measured[AS_BUILT]) + closest) / 2


def _line(stage: BrokenStage, rows: Sequence[SceneRow], columns: Sequence[Measure]) -> list[str]:
    cells = []
    for measure in columns:
        text = measure.text(measure.value(rows))
        cells.append(f"**{text}**" if holds(measure.name, rows) is False else text)
    return [stage.title, BY_NAME[stage.measure].title if stage.measure else "", *cells]


def _limit(measure: Measure, limit: float | None) -> str:
    return "" if limit is None else measure.text(limit)
