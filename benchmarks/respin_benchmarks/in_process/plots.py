"""Where the time of one job goes, and how near each network comes to its limit, as pictures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from respin_benchmarks.in_process.rows import Interval, NetworkRun
from respin_benchmarks.plotting import DARK, NEUTRAL, UNET_COLOURS, saved_figure

ROWS = (
    *("decoding", "detection", "segmentation", "background", "inpaint_unet", "zero123_unet", "super_resolution"),
    *("outline of a view", "composition"),
)
RUNTIME_COLOURS = (NEUTRAL, "#1668b8", "#c2571a", "#3a8f5c", "#8457a8", "#d4a72c", "#2aa5a0", "#b03a48")
"""One for each runtime."""


def draw_jobs(jobs: Mapping[str, Sequence[Interval]], path: Path) -> None:
    """Draw one panel per runtime: stages as bars, each call of a UNet as a stroke in its bar.

    Args:
        jobs: what one job did, by runtime.
        path: of the PNG.
    """
    with saved_figure(path, 9, 0.6 + 2.5 * len(jobs)) as figure:
        panels = figure.subplots(len(jobs), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (runtime, intervals) in zip(panels, jobs.items(), strict=True):
            for place, name in enumerate(ROWS):
                spans = [(each.began_s, each.ended_s - each.began_s) for each in intervals if each.name == name]
                axes.broken_barh(spans, (place - 0.35, 0.7), color=UNET_COLOURS.get(name, NEUTRAL), linewidth=0)
            axes.set_yticks(range(len(ROWS)), ROWS)
            axes.invert_yaxis()
            axes.grid(axis="x", alpha=0.3)
            axes.set_title(runtime)
        panels[-1].set_xlabel("s since the photo came")


def draw_limits(runs: Sequence[NetworkRun], path: Path) -> None:
    """Draw what each network takes by each runtime, and the mark that it cannot pass.

    Args:
        runs: of one machine.
        path: of the PNG.
    """
    calls = list(dict.fromkeys((run.network, run.batch) for run in runs))
    runtimes = list(dict.fromkeys(run.runtime for run in runs))
    thickness = 0.8 / len(runtimes)
    with saved_figure(path, 9, 1 + 0.42 * len(calls)) as figure:
        axes = figure.subplots()
        for number, runtime in enumerate(runtimes):
            mine = {(run.network, run.batch): run for run in runs if run.runtime == runtime}
            places = [place - 0.4 + (number + 0.5) * thickness for place, call in enumerate(calls) if call in mine]
            times = [mine[call].best_ms for call in calls if call in mine]
            axes.barh(places, times, thickness, color=RUNTIME_COLOURS[number], label=runtime)
        limits = {(run.network, run.batch): run.floor_ms for run in runs}
        axes.vlines(
            [limits[call] for call in calls],
            [place - 0.45 for place in range(len(calls))],
            [place + 0.45 for place in range(len(calls))],
            color=DARK,
            linewidth=2,
            label="limit",
        )
        axes.set_xscale("log")
        axes.set_yticks(range(len(calls)), [f"{name} x {batch}" for name, batch in calls])
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel("ms a call")
        figure.legend(loc="outside upper right", ncols=len(runtimes) + 1, frameon=False)


def draw_latencies(latencies_s: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw the baseline against the engine: each repeat as a dot, the median as a bar.

    Args:
        latencies_s: of one job, by what did it.
        path: of the PNG.
    """
    with saved_figure(path, 9, 0.8 + 0.5 * len(latencies_s)) as figure:
        axes = figure.subplots()
        for place, (name, repeats) in enumerate(latencies_s.items()):
            colour = NEUTRAL if "baseline" in name else RUNTIME_COLOURS[1]
            axes.barh(place, statistics.median(repeats), 0.6, color=colour)
            axes.plot(repeats, [place] * len(repeats), "o", color=DARK, markersize=3)
        axes.set_yticks(range(len(latencies_s)), list(latencies_s))
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel("s from the photo's file to the answer's")
