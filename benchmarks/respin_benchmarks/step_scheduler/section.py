"""The whole section of the page, from both CSV files."""

from __future__ import annotations

from collections.abc import Sequence

from respin_benchmarks.step_scheduler import stepping_report, views_report
from respin_benchmarks.step_scheduler.results import Row, where

IMAGES = {"latency": "engine_latency.png", "ratio": "engine_ratio.png"}


def section_of(steppings: Sequence[Row], views: Sequence[Row]) -> str:
    """Tables and pictures.

    Args:
        steppings: rows of `stepping.Run`.
        views: rows of `views.Run`.
    """
    targets = [*stepping_report.targets(steppings), *views_report.targets(views)]
    lines = [
        f"Stepping: {_repeats(steppings)}, {where(steppings)}. Views: {_repeats(views)}, {where(views)}.",
        "",
        "| aim | measured | |",
        "|---|---|---|",
        *(aim.line for aim in targets),
        "",
        "### Continuous batching against independent loops",
        "",
        f"![Samples a UNet call over the number of requests](images/{IMAGES['ratio']})",
        "",
        f"![Latency over the number of requests](images/{IMAGES['latency']})",
        "",
    ]
    for network in stepping_report.NETWORKS:
        lines += [*stepping_report.comparison(steppings, network), ""]
    lines += ["### What a step costs beside the network", "", *stepping_report.overhead(steppings), ""]
    lines += [f"### {views[0]['views']} views of one photo", "", *views_report.table(views)]
    return "\n".join(lines) + "\n"


def _repeats(rows: Sequence[Row]) -> str:
    return f"{1 + max(int(row['repeat']) for row in rows)} repeats"
