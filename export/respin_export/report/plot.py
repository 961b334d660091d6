"""The parity report as a picture: every error on a logarithmic scale, with its gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from respin_export.report.rows import LINKS, ParityRow

PASSING, BROKEN = "#1f6f8b", "#c0392b"
LEAST = 1e-8
"""Error at whose position one of zero is drawn."""


def plot_parity(rows: Sequence[ParityRow], path: Path) -> None:
    """Draw one panel a link, one line a network, one dot an error; a bar marks the gate.

    Args:
        rows: rows of the report.
        path: path of the PNG; its folder is made.
    """
    # Not pyplot, which looks for a display and keeps every figure.
    from matplotlib.figure import Figure  # noqa: PLC0415 (an extra of its own)

    networks = list(dict.fromkeys(row.network for row in rows))
    figure = Figure(figsize=(15, 1.2 + 0.32 * len(networks)), layout="constrained")
    panels = figure.subplots(1, len(LINKS), sharey=True, squeeze=False)[0]
    for panel, link in zip(panels, LINKS, strict=True):
        _draw(panel, link, [row for row in rows if row.link == link], networks)
    panels[0].set_yticks(range(len(networks)), networks)
    panels[0].set_ylim(len(networks) - 0.5, -0.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _draw(panel: Any, link: str, rows: Sequence[ParityRow], networks: Sequence[str]) -> None:
    panel.set_title(link.replace("→", "to"), fontsize=10)
    panel.set_xscale("log")
    panel.set_xlim(LEAST / 2, 1)
    panel.grid(axis="both", color="#dddddd", linewidth=0.6)
    panel.tick_params(labelsize=9)
    for row in rows:
        height = networks.index(row.network)
        # What has no number is drawn at the far end, in the colour of a broken gate.
        error = row.error if LEAST <= row.error <= 1 else LEAST if row.error < LEAST else 1
        panel.plot(error, height, "o", color=PASSING if row.passes else BROKEN, markersize=4, alpha=0.7)
        if not row.failure:
            panel.plot([row.allowed] * 2, [height - 0.35, height + 0.35], color="#444444", linewidth=1.2)
