"""What is computed from a run's calls, and what the page says of the runs."""

import math
from dataclasses import replace

import pytest

from respin_benchmarks.step_batcher.calls import (
    CallLog,
    Span,
    common,
    duration_ms,
    period_ms,
    samples_per_call,
    within,
)
from respin_benchmarks.step_batcher.page import page_of, stepping_targets
from respin_benchmarks.step_batcher.rows import BATCHER, TOGETHER, VIEW_WAYS, WAYS, ManyViewsRun, SteppingRun
from respin_benchmarks.targets import target_table

MS = 10**6
HERE = {"commit": "abc", "date": "2026-11-26", "machine": "a laptop", "versions": "numpy 1", "load_average": 0.5}
CALLS = [Span(0, 10 * MS, 1), Span(12 * MS, 22 * MS, 4), Span(25 * MS, 35 * MS, 2)]


def test_the_ramp_is_over_when_the_last_has_come_and_not_yet_when_the_first_has_gone():
    assert common([Span(0, 30), Span(10, 40), Span(5, 50)]) == Span(10, 30)


def test_requests_that_never_met_have_a_ramp_of_no_calls():
    apart = common([Span(0, 11 * MS), Span(24 * MS, 40 * MS)])
    assert apart.seconds < 0
    assert math.isnan(samples_per_call(within(CALLS, apart)))


def test_a_call_that_began_before_the_ramp_was_over_does_not_count():
    assert within(CALLS, Span(1, 35 * MS)) == CALLS[1:]
    assert samples_per_call(within(CALLS, Span(1, 35 * MS))) == 3


def test_a_step_lasts_from_call_to_call_and_a_call_by_itself():
    assert period_ms(CALLS) == 12.5
    assert duration_ms(CALLS) == 10
    assert math.isnan(period_ms(CALLS[:1]))
    assert math.isnan(duration_ms([]))


def test_a_log_gives_back_the_calls_made_since(tmp_path):
    log = CallLog(tmp_path / "calls")
    assert log.length() == 0
    for call in CALLS:
        log.record(call)
    assert log.calls_since(1) == CALLS[1:]


def run(**fields):
    """A run of the step batcher that reaches every target."""
    ideal = {
        "unet": "zero123_unet",
        "way": BATCHER,
        "arrival": "simultaneous",
        "concurrency": 1,
        "repeat": 0,
        "steps": 76,
        "wall_s": 0.8,
        "ramped_ratio": 1.0,
        "steps_per_s": 95.0,
        "period_ms": 10.5,
        "unet_ms": 10.0,
        "latencies_ms": "800.0",
    }
    return SteppingRun(**{**HERE, **ideal, **fields})


def stepping_rows(**eight):
    """One repeat with one and with eight requests; `eight` says what is otherwise with the eight."""
    crowd = {"concurrency": 8, "ramped_ratio": 8.0, "period_ms": 12.0, "latencies_ms": "900.0 910.0", **eight}
    pairs = [(arrival, way) for arrival in ("simultaneous", "staggered") for way in WAYS]
    return [run(way=way, arrival=arrival, **more) for arrival, way in pairs for more in ({}, crowd)]


def test_aims_that_are_reached_are_said_to_be_met():
    targets = list(stepping_targets(stepping_rows()))
    assert len(targets) == 4
    assert all(target.met for target in targets)


@pytest.mark.parametrize(
    ("poor", "missed"),
    [
        ({"ramped_ratio": 7.5}, "samples a call once ramped up"),
        ({"ramped_ratio": math.nan}, "samples a call once ramped up"),
        ({"latencies_ms": "1100.0 1100.0"}, "latency p50 at 8 requests"),
    ],
    ids=["seven and a half of eight", "never all at once", "later by more than a third"],
)
def test_an_aim_that_is_not_reached_is_said_to_be_missed(poor, missed):
    failed = [target for target in stepping_targets(stepping_rows(**poor)) if not target.met]
    assert {target.title.split(",")[0] for target in failed} == {missed}
    assert all(line.endswith("| **missed** |") for line in target_table(failed)[2:])


def view_rows(*, single_calls=450, single_s=20.0):
    """One repeat of each way; single requests make so many UNet calls and take so long."""
    figures = {way: (single_calls, single_s) for way in VIEW_WAYS} | {TOGETHER: (150, 10.0)}
    return [
        ManyViewsRun(**HERE, repeat=0, way=way, views=12, unet_calls=calls, wall_s=wall_s)
        for way, (calls, wall_s) in figures.items()
    ]


def test_a_step_that_costs_too_much_is_said_to_miss_its_aim():
    assert "| `zero123_unet` | 8 | 12.00 | 10.00 | 2.00 | 3 | met |" in page_of(stepping_rows(), view_rows())
    slow = page_of(stepping_rows(period_ms=13.5), view_rows())
    assert "| `zero123_unet` | 8 | 13.50 | 10.00 | 3.50 | 3 | **missed** |" in slow


def test_views_together_are_held_against_single_requests():
    met = page_of(stepping_rows(), view_rows())
    assert met.count("| 3.0 x | 2.0 x | met |") == 2
    assert "**missed**" not in met
    for poor in ({"single_calls": 449}, {"single_s": 19.9}):
        assert page_of(stepping_rows(), view_rows(**poor)).count("**missed**") == 2


def test_latencies_are_percentiles_of_all_requests_of_all_repeats():
    later = [replace(row, repeat=1, latencies_ms="700.0 700.0 700.0") for row in stepping_rows()]
    page = page_of([*stepping_rows(), *later], view_rows())
    assert "| 1 | step batcher | 1.00 / 1.00 | 95 / 95 | 700 / 700 | 800 / 800 |" in page
