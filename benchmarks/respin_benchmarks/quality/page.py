"""The report as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from respin.report.markdown import check_section, table
from respin.scenes import KINDS
from respin_benchmarks.quality.judge import DILATE_PX
from respin_benchmarks.quality.measures import MEASURES, Measure
from respin_benchmarks.quality.rows import BIN_EDGES, SceneRow, azimuth_bin, mean_of
from respin_benchmarks.quality.stages import CLASS_MEAN_OBJECTS, SAME_PLACE_IOU

SECTION = "quality"
BROKEN_SECTION = "broken stages"

EMPTY_PAGE = f"""# Quality

How close the pictures of a set come to the truth, on rendered scenes that no network was trained on.

<!-- {SECTION}: begin -->
<!-- {SECTION}: end -->

## Broken stages

<!-- {BROKEN_SECTION}: begin -->
<!-- {BROKEN_SECTION}: end -->
"""

NOTES = f"""\
* Every figure is a mean over scenes, of dB too. A job without a picture counts as not found, as IoU 0 and as not
  closer; the figures of later stages leave it out.
* Novel view: what the job returns is enlarged four times by EDSR, so it is reduced to the side of Zero123's view by the
  mean of each area before it is compared. The copy is the object from the photo's side, the class mean that of
  {CLASS_MEAN_OBJECTS} training objects of its kind from the true new side, the VAE ceiling the truth decoded from its
  own latents.
* Inpainting: the hole is the job's mask grown by {DILATE_PX} px, the truth is the room rendered without the object.
  What OpenCV fills in is pasted with the same fading edge as the job's.
  "No longer detected": no box of the name with IoU >= {SAME_PLACE_IOU} where the object stood.
* Super-resolution: the truth, reduced to a quarter by the mean of each area, is enlarged again.
* Whole job: PSNR where the object is or was, grown by {DILATE_PX} px, against the scene rendered with its object
  turned. "True parts" is what pasting the true view into the true background reaches.
* VAE, super-resolution, absent names and the choice between two are measured on the networks in the process of the
  command; everything else on what the server returned."""

GROUPS_NOTE = """\
The same measures by kind of the object, |azimuth| and number of objects in the photo. The values in brackets are the
baselines that the measure names, in the same order and unit. A dash means that no scene of the group has the figure."""


def ensure_page(page: Path) -> None:
    """Create the page if there is none.

    Raises:
        InvalidInput: there is one without the marks of its sections.
    """
    if not page.exists():
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(EMPTY_PAGE)
    check_section(page, SECTION)


def quality_text(rows: Sequence[SceneRow], notes: Sequence[str], images: str) -> str:
    """Return the report: summary, table of measures, table by groups of scenes, pictures.

    Args:
        rows: rows of at least one scene.
        notes: notes of the set (`ModelSet.notes`): which networks are not trained, for example.
        images: folder of the pictures, as links name it.
    """
    name = rows[0].set_name
    lines = [
        _summary(rows),
        "",
        *(f"* **{note}**" for note in notes),
        "",
        *table(("stage", "measure", "result", "beside it", "target", "met"), (_line(each, rows) for each in MEASURES)),
        "",
        NOTES,
        "",
        GROUPS_NOTE,
        "",
        *_table_by_group(rows),
        "",
        f"![Gain over the baselines, scene by scene]({images}/quality_{name}.webp)",
        "",
        "The first scenes, as they come: photo, mask, novel view, background, composite, truth.",
        "",
        f"![Gallery of the first scenes]({images}/quality_gallery_{name}.webp)",
    ]
    return "\n".join(lines) + "\n"


def _summary(rows: Sequence[SceneRow]) -> str:
    first, failures = rows[0], [row.failure for row in rows if row.failure]
    text = (
        f"`{first.command}`, {first.date}, commit {first.commit}: set `{first.set_name}`, {len(rows)} scenes (seeds "
        f"{first.seed} to {rows[-1].seed}), {mean_of(rows, 'job_s'):.1f} s per job."
    )
    if failures:
        text += f" {len(failures)} jobs returned no picture; the first error: {failures[0]}"
    return text


def _line(measure: Measure, rows: Sequence[SceneRow]) -> list[str]:
    beside = (f"{title} {measure.text(mean_of(rows, name))}" for title, name in measure.baselines.items())
    met = {True: "yes", False: "**no**", None: ""}[measure.met(rows)]
    value = measure.text(measure.value(rows))
    return [measure.stage, measure.title, value, ", ".join(beside), measure.target_text, met]


def _table_by_group(rows: Sequence[SceneRow]) -> list[str]:
    groups = _groups(rows)
    scenes = ["", "number of scenes", *(f"{len(group)}" for group in groups.values())]
    lines = (_line_by_group(measure, rows, groups.values()) for measure in MEASURES)
    return table(("stage", "measure", *groups), [scenes, *lines])


def _groups(rows: Sequence[SceneRow]) -> dict[str, Sequence[SceneRow]]:
    bins = map(azimuth_bin, BIN_EDGES[:-1])
    return {
        "all": rows,
        **{kind: [row for row in rows if row.kind == kind] for kind in KINDS},
        **{f"{name} degrees": [row for row in rows if azimuth_bin(row.azimuth) == name] for name in bins},
        "1 object": [row for row in rows if row.objects == 1],
        "2 objects": [row for row in rows if row.objects == 2],
    }


def _line_by_group(measure: Measure, rows: Sequence[SceneRow], groups: Iterable[Sequence[SceneRow]]) -> list[str]:
    # Without the baselines that no scene has: the box is not found if the request carries it, for example.
    baselines = {title: name for title, name in measure.baselines.items() if not math.isnan(mean_of(rows, name))}
    title = measure.title + _brackets(baselines)
    return [measure.stage, title, *(_cell(measure, baselines.values(), group) for group in groups)]


def _cell(measure: Measure, baselines: Iterable[str], rows: Sequence[SceneRow]) -> str:
    value = measure.value(rows)
    if math.isnan(value):
        return measure.text(value)
    return measure.text(value) + _brackets(measure.text(mean_of(rows, name), with_unit=False) for name in baselines)


def _brackets(texts: Iterable[str]) -> str:
    joined = " / ".join(texts)
    return f" ({joined})" if joined else ""
