"""The section on whole jobs on the server, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from respin.report.markdown import table
from respin.report.rows import read_rows
from respin_benchmarks.runner import PageReport
from respin_benchmarks.served.rows import LoadRun, ServedRun, StagesRun
from respin_benchmarks.tables import Repeats, cell_table, cells_of, percentiles_of, where_text

LOAD, STAGES = "served_load.csv", "served_stages.csv"

STAGE_ROWS = {
    "latency_s": "the whole job, as its client saw it",
    "server_s": "in the engine",
    "decoding_s": "decoding",
    "segmentation_s": "segmentation",
    "background_s": "background, beside the view",
    "inpaint_unet_s": "of that, calls of the UNet",
    "zero123_unet_s": "Zero123: calls of the UNet",
    "super_resolution_s": "super-resolution",
    "outline_s": "outline of the view",
    "composition_s": "composition",
}
LOAD_COLUMNS = {
    "profile": "`{profile}`",
    "at once": "{concurrency:g}",
    "jobs": "{jobs}",
    "refused": "{refused}",
    "failed": "{failed}",
    "images/s": "{images_s:.2f}",
    "p50, s": "{p50:.2f}",
    "p95": "{p95:.2f}",
    "p99": "{p99:.2f}",
    "spread": "{p50_s.spread:.0%}",
    "UNets busy, Zero123 / inpainting": "{zero123_busy:.0%} / {inpaint_busy:.0%}",
    "samples a call": "{zero123_samples:.2f} / {inpaint_samples:.2f}",
    "peak PSS, MiB": "{peak_pss_mib.least:.0f}",
}

R = TypeVar("R", bound=ServedRun)


def page_of(loads: Sequence[LoadRun], stages: Sequence[StagesRun]) -> str:
    """Return the section; what has not been measured is left out.

    Args:
        loads: runs of many jobs at once.
        stages: runs of one job, stage by stage.
    """
    parts = (
        _part("Where one job's time goes", stages, _stages),
        _part("Many jobs at once", loads, _loads),
    )
    return "\n".join(filter(None, parts))


def _part(title: str, runs: Sequence[R], lines: Callable[[Sequence[R]], list[str]]) -> str:
    if not runs:
        return ""
    first = runs[0]
    where = where_text(runs, f"mini set, {first.sampler}, {first.steps} + {first.background_steps} steps")
    text = f"{where}. Medians of {max(run.repeat for run in runs) + 1} interleaved repeats."
    return "\n".join([f"### {title}", "", text, "", *lines(runs), ""])


def _loads(runs: Sequence[LoadRun]) -> list[str]:
    def more(cell: Sequence[LoadRun]) -> dict[str, Any]:
        sums = {name: sum(getattr(run, name) for run in cell) for name in ("jobs", "refused", "failed")}
        return {**percentiles_of(cell, "latencies_s"), **sums}

    errors = [f"* First error of a run: {error}" for error in dict.fromkeys(run.first_error for run in runs) if error]
    return [
        *cell_table(LOAD_COLUMNS, cells_of(runs, "profile", "concurrency"), more),
        *([""] if errors else []),
        *errors,
    ]


def _stages(runs: Sequence[StagesRun]) -> list[str]:
    form = "{0:.1f} ({0.least:.1f} to {0.greatest:.1f})"
    profiles = [
        (cell[0].profile, {name: Repeats(1e3 * getattr(run, name) for run in cell) for name in STAGE_ROWS})
        for cell in cells_of(runs, "profile")
    ]
    rows = ([title, *(form.format(mine[name]) for _, mine in profiles)] for name, title in STAGE_ROWS.items())
    return table(["stage, ms", *(f"`{name}`" for name, _ in profiles)], rows)


def text_of(results: Path) -> str:
    """Return the section from the folder of results; what is not there is left out."""
    return page_of(read_rows(results / LOAD, LoadRun), read_rows(results / STAGES, StagesRun))


SERVED = PageReport("served", text_of)
