"""The reports on parity and on full size as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from respin.report.markdown import table
from respin_export.report.rows import LIMIT_MIB, LINKS, Cost, ParityRow


def parity_text(rows: Sequence[ParityRow]) -> str:
    """The table of the greatest error of each network and link.

    Args:
        rows: rows of the report, of at least one network.
    """
    names = list(dict.fromkeys(row.network for row in rows))
    lines = [
        f"Measured {_spread(row.date for row in rows)} with {_spread(row.versions for row in rows)}.",
        "",
        *table(("network", *LINKS), ([f"`{name}`", *_worst_by_link(rows, name)] for name in names)),
    ]
    broken = [f"* `{row.network}`, {row.link}, {row.case}: {_broken(row)}" for row in rows if not row.passes]
    held = f"All {len(rows)} comparisons pass their gates."
    return "\n".join([*lines, "", *(["**Broken gates:**", "", *broken] if broken else [held])]) + "\n"


def _spread(values: Iterable[str]) -> str:
    return " and ".join(sorted(set(values)))


def _worst_by_link(rows: Sequence[ParityRow], network: str) -> list[str]:
    return [_worst([row for row in rows if (row.network, row.link) == (network, link)]) for link in LINKS]


def _worst(rows: Sequence[ParityRow]) -> str:
    """The error nearest to its gate, or beyond it."""
    if not rows:
        return ""
    if any(row.failure for row in rows):
        return "**fails**"
    worst = max(rows, key=lambda row: (not row.passes, row.error / row.allowed))
    text = pixels(worst) if worst.output == "boxes" else f"{worst.error:.1e}"
    return text if worst.passes else f"**{text}**"


def pixels(row: ParityRow) -> str:
    """A share of the image's sides as pixels of GroundingDINO's 1200."""
    return f"{row.error * 1200:.2g} px"


def _broken(row: ParityRow) -> str:
    return row.failure or f"'{row.output}' {row.error:.2e}, allowed {row.allowed:.1e} ({row.measure})"


def full_size_text(costs: Sequence[Cost]) -> str:
    """The table of what exports and engine plans of the published sizes took.

    Args:
        costs: costs of all steps that were measured.
    """
    where = _spread(f"{cost.cores} cores of {cost.cpu}" for cost in costs)
    lines = [
        f"Measured {_spread(cost.date for cost in costs)} on {where}, with {_spread(cost.versions for cost in costs)}. "
        f"{len(costs)} steps took {sum(cost.wall_s for cost in costs) / 60:.0f} min.",
        "",
        *table(_COST_TITLES, map(_cost_row, costs)),
    ]
    return "\n".join([*lines, "", _served_together([cost for cost in costs if cost.step == "engine"])]) + "\n"


_COST_TITLES = ("network", "step", "time, s", "peak memory, MiB", "file, MiB", "GPU scratch, MiB", "errors")
_STEP_NAMES = {"fp32": "ONNX FP32", "fp16": "ONNX FP16", "engine": "TensorRT-RTX FP16"}


def _cost_row(cost: Cost) -> list[str]:
    memory = f"{cost.peak_rss_mib}" if cost.peak_rss_mib <= LIMIT_MIB else f"**{cost.peak_rss_mib}**"
    scratch = "" if math.isnan(cost.scratch_mib) else f"{cost.scratch_mib:.0f}"
    figures = [f"{cost.wall_s:.0f}", memory, f"{cost.file_mib:.0f}", scratch, cost.errors]
    return [f"`{cost.network}`", _STEP_NAMES[cost.step], *figures]


def _served_together(engines: Sequence[Cost]) -> str:
    """Return what a server takes of a GPU that holds one instance of every engine plan."""
    weights, scratch = sum(cost.file_mib for cost in engines), sum(cost.scratch_mib for cost in engines)
    if math.isnan(scratch):
        return "What all engine plans together take of a GPU is not known: not every one has said so."
    return (
        f"One instance of each engine plan takes {weights + scratch:.0f} MiB of a GPU: {weights:.0f} for the weights, "
        f"{scratch:.0f} for scratch."
    )
