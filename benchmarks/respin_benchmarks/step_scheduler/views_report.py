"""Many views in one request against a request for each, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from respin_benchmarks.step_scheduler.results import Row
from respin_benchmarks.step_scheduler.stepping_report import Target
from respin_benchmarks.step_scheduler.views import CACHES, UNETS, WAYS

CALLS_AIM, TIME_AIM = 3.0, 2.0
TOGETHER, *SINGLES = WAYS


def cell(rows: Sequence[Row], way: str, caches: str) -> list[Row]:
    """All repeats of one cell."""
    return [row for row in rows if (row["way"], row["caches"]) == (way, caches)]


def unet_calls(runs: Sequence[Row]) -> float:
    """Of both UNets, median."""
    return statistics.median(sum(int(row[name]) for name in UNETS) for row in runs)


def wall_s(runs: Sequence[Row]) -> float:
    """From the request to the last picture, median."""
    return statistics.median(float(row["wall_s"]) for row in runs)


def other_calls(runs: Sequence[Row]) -> dict[str, float]:
    """Of each network that is no UNet, medians."""
    each = [dict(pair.split("=") for pair in row["other_calls"].split()) for row in runs]
    return {name: statistics.median(int(calls[name]) for calls in each) for name in each[0]}


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The lines of the table."""
    others = list(other_calls(rows))
    yield f"| way | caches | wall, s | UNet calls | {' | '.join(f'`{name}`' for name in (*UNETS, *others))} |"
    yield f"|---|---|---|---|{'---|' * (len(UNETS) + len(others))}"
    for way in WAYS:
        for caches in CACHES:
            runs = cell(rows, way, caches)
            counts = [
                *(statistics.median(int(row[name]) for row in runs) for name in UNETS),
                *other_calls(runs).values(),
            ]
            numbers = " | ".join(f"{count:g}" for count in counts)
            yield f"| {way} | {caches} | {wall_s(runs):.2f} | {unet_calls(runs):g} | {numbers} |"


def targets(rows: Sequence[Row]) -> Iterator[Target]:
    """What was aimed at."""
    views = rows[0]["views"]
    for way in SINGLES:
        for caches in CACHES:
            together, single = cell(rows, TOGETHER, caches), cell(rows, way, caches)
            calls, faster = unet_calls(single) / unet_calls(together), wall_s(single) / wall_s(together)
            against = f"{views} views in one request against {views} {way}, caches {caches}"
            yield Target(f"{against}: {CALLS_AIM:g} x fewer UNet calls", f"{calls:.1f} x", calls >= CALLS_AIM)
            yield Target(f"{against}: {TIME_AIM:g} x faster", f"{faster:.1f} x", faster >= TIME_AIM)
