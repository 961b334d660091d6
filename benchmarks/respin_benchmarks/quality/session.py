"""One measurement: the served job and the stages on held-out scenes, and the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from respin.bundled import bundled_path
from respin.errors import InternalError, InvalidInput, ObjectNotFound
from respin.model_set import MANIFEST, ModelSet
from respin.report.circumstances import commit_here, today
from respin.report.markdown import write_section
from respin.request import RotationRequest
from respin.scenes import HELD_OUT_SEEDS, Scene, render_scene
from respin_benchmarks.embedded import embedded_server
from respin_benchmarks.quality.jobs import JobOutputs, request_for, served_outputs
from respin_benchmarks.quality.judge import ENLARGEMENT, composite_ceiling, judge_outputs
from respin_benchmarks.quality.metrics import psnr_db
from respin_benchmarks.quality.page import SECTION, ensure_page, quality_text
from respin_benchmarks.quality.pictures import GALLERY_SCENES, draw_figures, draw_gallery
from respin_benchmarks.quality.rows import SceneRow, read_scene_rows, write_scene_rows
from respin_benchmarks.quality.stages import (
    ClassMeans,
    detection_figures,
    removal_figures,
    round_trip,
    super_resolution_figures,
    view_baselines,
)
from respin_client import Client
from respin_ensemble.networks import Networks
from respin_ensemble.networks.onnx import OnnxNetworks

JOB_TIMEOUT_S = 600.0

OF_THE_BOX = ("found", "score", "box_iou", "box_close", "box_mask_iou")
"""Figures that mean nothing if the request carries the true box."""

RunJob = Callable[[RotationRequest], JobOutputs]
Example = tuple[Scene, JobOutputs | None]


@dataclass(frozen=True)
class QualityMeasurement:
    """What is measured, and where the report goes.

    Args:
        folder: folder of the set.
        output: folder of the CSV file, and of the pictures if there is no page.
        page: Markdown file to update; None prints the report only.
        command: command line that was given, for the report.
        scenes: number of scenes, with the first held-out seeds.
        with_box: send the true box instead of having the object detected.
        url: HOST:PORT of a running server; None starts the embedded one.
        device: device of the networks in this process, "cpu" or "cuda".
        options: fields of the request that differ from their defaults.
    """

    folder: Path
    output: Path
    page: Path | None
    command: str
    scenes: int
    with_box: bool
    url: str | None
    device: str
    options: dict[str, Any]

    def measure(self) -> list[SceneRow]:
        """Measure every scene; rows are written as they come.

        Raises:
            RespinError: the set or the server cannot be used.
        """
        if self.page:
            ensure_page(self.page)
        rows: list[SceneRow] = []
        examples: list[Example] = []
        networks = OnnxNetworks.from_set(self.folder, device=self.device)
        with ExitStack() as stack:
            url = self.url or str(stack.enter_context(embedded_server("local", models=self.folder)).endpoints["gRPC"])
            client = stack.enter_context(Client(url, timeout_s=JOB_TIMEOUT_S))
            judged = self._judged(networks, lambda request: served_outputs(client, request))
            for row, example in track(judged, "scenes", self.scenes, console=Console(stderr=True)):
                rows.append(row)
                if len(examples) < GALLERY_SCENES:
                    examples.append(example)
                write_scene_rows(self._csv, rows)
        draw_gallery(examples, self._images / f"quality_gallery_{self._set.name}.webp")
        # As rounded in the file, so that the report can be written from it again.
        return self.earlier_rows()

    def report(self, rows: Sequence[SceneRow]) -> str:
        """Draw the plots, update the page, and return the report's text."""
        draw_figures(rows, self._images / f"quality_{self._set.name}.webp")
        text = quality_text(rows, self._set.notes, "images" if self.page else ".")
        if self.page:
            ensure_page(self.page)
            write_section(self.page, SECTION, text)
        return text

    def earlier_rows(self) -> list[SceneRow]:
        """Return the rows of an earlier measurement of the same set.

        Raises:
            InvalidInput: there are none.
        """
        rows = read_scene_rows(self._csv)
        if not rows:
            raise InvalidInput(f"there are no rows in '{self._csv}'; run without --report-only first")
        return rows

    @property
    def _set(self) -> ModelSet:
        return ModelSet.load(self.folder)

    @property
    def _csv(self) -> Path:
        return self.output / f"quality_{self._set.name}.csv"

    @property
    def _images(self) -> Path:
        return self.page.parent / "images" if self.page else self.output

    def _judged(self, networks: Networks, job: RunJob) -> Iterator[tuple[SceneRow, Example]]:
        judge = SceneJudge(networks)
        known = {
            "set_name": self._set.name,
            "command": self.command,
            "commit": commit_here(),
            "date": today(),
        }
        for seed in HELD_OUT_SEEDS[: self.scenes]:
            scene = render_scene(seed)
            request = request_for(scene, with_box=self.with_box, **self.options)
            began_s = time.perf_counter()
            outputs, failure = outputs_or_failure(job, request)
            figures = {"job_s": time.perf_counter() - began_s, **judge.figures(scene, outputs)}
            if self.with_box:
                figures = {name: value for name, value in figures.items() if name not in OF_THE_BOX}
            yield row_of(scene, figures, failure=failure, **known), (scene, outputs)


class SceneJudge:
    """Measures scenes, what jobs made of them, and single stages.

    Args:
        networks: to measure single stages of.
    """

    def __init__(self, networks: Networks) -> None:
        self._networks, self._sizes = networks, networks.sizes
        self._means = ClassMeans(self._sizes.view_side, self._sizes.object_share)

    def figures(self, scene: Scene, outputs: JobOutputs | None) -> dict[str, float]:
        """Return the figures of a scene; outputs are None if the job returned no picture."""
        networks, sizes = self._networks, self._sizes
        pair, large = (
            scene.views(side=side, object_share=sizes.object_share)
            for side in (sizes.view_side, ENLARGEMENT * sizes.view_side)
        )
        return {
            **judge_outputs(scene, outputs, pair, view_baselines(networks, scene, pair, self._means), sizes),
            **detection_figures(networks, scene),
            **super_resolution_figures(networks, large.after, scene.photo),
            **composite_ceiling(scene, large, sizes),
            "vae_scene_psnr": psnr_db(*round_trip(networks, scene.photo)),
            **removal_figures(networks, scene, outputs.background if outputs else None),
        }


def row_of(scene: Scene, figures: dict[str, float], **facts: str) -> SceneRow:
    """Return the row of a scene."""
    return SceneRow(
        scene.seed, scene.target.kind, len(scene.objects), round(scene.azimuth, 2), **facts, figures=figures
    )


def outputs_or_failure(job: RunJob, request: RotationRequest) -> tuple[JobOutputs | None, str]:
    """Run a job; where a network's answer leaves no picture, return the error's text instead."""
    try:
        return job(request), ""
    except (ObjectNotFound, InternalError) as error:
        return None, f"{error}"


def set_folder(name: str) -> Path:
    """Return the folder of a set by its path, or by the name of one that comes with Respin.

    Raises:
        InvalidInput: it is neither.
    """
    if (Path(name) / MANIFEST).is_file():
        return Path(name)
    try:
        return bundled_path(f"models/{name}")
    except InternalError:
        raise InvalidInput(f"'{name}' is not a set; send 'mini', or a folder that holds {MANIFEST}") from None
