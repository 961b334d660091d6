"""What is computed from a run's calls, and what the page says of the runs."""

import math

import pytest

from respin_benchmarks.step_batcher.calls import (
    CallLog,
    Span,
    UNetCall,
    busy_share,
    common,
    duration_ms,
    period_ms,
    samples_per_call,
    within,
)
from respin_benchmarks.step_batcher.cells import BATCHER, CACHES, TOGETHER, VIEW_WAYS, WAYS
from respin_benchmarks.step_batcher.page import latencies_ms, median_of, stepping_targets, view_targets
from respin_benchmarks.step_batcher.rows import ManyViewsRun, SteppingRun, circumstances_now
from respin_benchmarks.targets import target_table

MS = 10**6
HERE = circumstances_now()
CALLS = [UNetCall(0, 10 * MS, 1), UNetCall(12 * MS, 22 * MS, 4), UNetCall(25 * MS, 35 * MS, 2)]


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


def test_a_unet_is_busy_for_as_much_of_its_calls_as_lies_in_the_span():
    assert busy_share(CALLS, Span(5 * MS, 35 * MS)) == pytest.approx(25 / 30)
    assert busy_share(CALLS, Span(35 * MS, 40 * MS)) == 0


def test_a_log_gives_back_the_calls_made_since(tmp_path):
    log = CallLog(tmp_path / "calls")
    assert log.length() == 0
    for call in CALLS:
        log.record(call)
    assert log.calls_since(1) == CALLS[1:]


def run(**fields):
    """A run of the step batcher that reaches every target."""
    ideal = {
        "network": "fixed",
        "unet": "zero123_unet",
        "cost_ms": "10",
        "way": BATCHER,
        "arrival": "simultaneous",
        "concurrency": 1,
        "repeat": 0,
        "steps": 76,
        "wall_s": 0.8,
        "ratio": 1.0,
        "ramped_ratio": 1.0,
        "ramped_calls": 76,
        "steps_per_s": 95.0,
        "busy": 0.95,
        "period_ms": 10.5,
        "unet_ms": 10.0,
        "call_ms": 10.4,
        "between_ms": 0.1,
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
    assert len(targets) == 6
    assert all(target.met for target in targets)


@pytest.mark.parametrize(
    ("poor", "missed"),
    [
        ({"ramped_ratio": 7.5}, {"samples a call once ramped up"}),
        ({"ramped_ratio": math.nan}, {"samples a call once ramped up"}),
        ({"period_ms": 13.5}, {"overhead a step"}),
        ({"latencies_ms": "1100.0 1100.0"}, {"latency p50 at 8 requests"}),
    ],
    ids=["seven and a half of eight", "never all at once", "half a millisecond too slow", "later by more than a third"],
)
def test_an_aim_that_is_not_reached_is_said_to_be_missed(poor, missed):
    failed = [target for target in stepping_targets(stepping_rows(**poor)) if not target.met]
    assert {target.aim.split(",")[0] for target in failed} == missed
    assert all(line.endswith("| **missed** |") for line in target_table(failed)[2:])


def test_figures_are_medians_of_the_repeats_and_latencies_of_all_requests():
    repeats = [(1.0, "1.0 2.0"), (3.0, "9.0"), (2.0, "8.0"), (math.nan, "")]
    rows = [run(ramped_ratio=ratio, latencies_ms=latencies) for ratio, latencies in repeats]
    assert median_of(rows, "ramped_ratio") == 2
    assert latencies_ms(rows) == [1, 2, 9, 8]


def view_rows(*, single_calls, single_s):
    """One repeat of each way; single requests make so many UNet calls and take so long."""
    figures = {way: (single_calls, 0, single_s) for way in VIEW_WAYS} | {TOGETHER: (100, 50, 10.0)}
    busy = {"zero123_unet_busy": 0.5, "inpaint_unet_busy": 0.5, "other_calls": "", "views": 12, "repeat": 0}
    return [
        ManyViewsRun(**HERE, **busy, way=way, caches=caches, zero123_unet=one, inpaint_unet=other, wall_s=wall_s)
        for way, (one, other, wall_s) in figures.items()
        for caches in CACHES
    ]


def test_views_together_are_held_against_single_requests():
    assert all(target.met for target in view_targets(view_rows(single_calls=450, single_s=20)))
    few, slow = view_rows(single_calls=449, single_s=20), view_rows(single_calls=450, single_s=19.9)
    assert {target.aim.split(": ")[1] for target in view_targets(few) if not target.met} == {"3 x fewer UNet calls"}
    assert {target.aim.split(": ")[1] for target in view_targets(slow) if not target.met} == {"2 x faster"}
