"""What is computed from a run's calls, and what the page says of the runs."""

import math
from dataclasses import asdict
from pathlib import Path

import pytest

from respin_benchmarks.circumstances import Circumstances
from respin_benchmarks.step_scheduler import stepping_report, views_report
from respin_benchmarks.step_scheduler.ledger import (
    Call,
    Ledger,
    Span,
    busy_share,
    common,
    duration_ms,
    percentile,
    period_ms,
    samples_per_call,
    within,
)
from respin_benchmarks.step_scheduler.results import Rows, rows_of, where, with_section
from respin_benchmarks.step_scheduler.section import section_of
from respin_benchmarks.step_scheduler.stepping import WAYS, Run
from respin_benchmarks.step_scheduler.views import CACHES
from respin_benchmarks.step_scheduler.views import WAYS as VIEW_WAYS

ROOT = Path(__file__).parents[2]
MS = 10**6
CALLS = [Call(0, 10 * MS, 1), Call(12 * MS, 22 * MS, 4), Call(25 * MS, 35 * MS, 2)]


def test_the_page_shows_the_figures_of_the_committed_runs():
    page = (ROOT / "docs/engine.md").read_text()
    results = ROOT / "benchmarks/results"
    assert (
        with_section(page, section_of(*map(rows_of, (results / "step_scheduler.csv", results / "many_views.csv"))))
        == page
    )


def test_a_page_without_the_marks_is_left_alone():
    with pytest.raises(ValueError, match="not enough values"):
        with_section("no section here", "figures")


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 2), (0.51, 3), (0.95, 4), (1, 4), (0.01, 1)])
def test_a_percentile_is_the_value_of_the_nearest_rank(share, wanted):
    assert percentile([4, 1, 3, 2], share) == wanted


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0), ([1.0], 1.1)])
def test_there_is_no_percentile_of_nothing_nor_beyond_all(values, share):
    with pytest.raises(ValueError, match="a percentile takes one or more"):
        percentile(values, share)


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


def test_a_ledger_gives_back_the_calls_made_since(tmp_path):
    ledger = Ledger(tmp_path / "calls")
    assert ledger.length() == 0
    for call in CALLS:
        ledger.record(call)
    assert ledger.calls_since(1) == CALLS[1:]


def run(**fields):
    """A run of the step batcher that reaches every target."""
    ideal = {
        "network": "fixed",
        "unet": "zero123_unet",
        "cost_ms": "10",
        "way": "scheduler",
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
    return Run(**{**ideal, **fields})


@pytest.fixture(scope="module")
def here():
    return Circumstances.now()


def stepping_rows(path, here, **eight):
    """One repeat with one and with eight requests; `eight` says what is otherwise with the eight."""
    rows = Rows(path, Run)
    crowd = {"concurrency": 8, "ramped_ratio": 8.0, "period_ms": 12.0, "latencies_ms": "900.0 910.0", **eight}
    for arrival in ("simultaneous", "staggered"):
        for way in WAYS:
            rows.write(run(way=way, arrival=arrival), here)
            rows.write(run(way=way, arrival=arrival, **crowd), here)
    return rows_of(path)


def test_aims_that_are_reached_are_said_to_be_met(tmp_path, here):
    targets = list(stepping_report.targets(stepping_rows(tmp_path / "runs.csv", here)))
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
def test_an_aim_that_is_not_reached_is_said_to_be_missed(tmp_path, here, poor, missed):
    targets = list(stepping_report.targets(stepping_rows(tmp_path / "runs.csv", here, **poor)))
    assert {target.what.split(",")[0] for target in targets if not target.met} == missed
    assert all("**missed**" in target.line for target in targets if not target.met)


def test_figures_are_medians_of_the_repeats_and_latencies_of_all_requests(tmp_path, here):
    rows = Rows(tmp_path / "runs.csv", Run)
    for repeat, (ratio, latencies) in enumerate([(1.0, "1.0 2.0"), (3.0, "9.0"), (2.0, "8.0")]):
        rows.write(run(repeat=repeat, ramped_ratio=ratio, latencies_ms=latencies), here)
    read = rows_of(tmp_path / "runs.csv")
    assert stepping_report.median(read, "ramped_ratio") == 2
    assert stepping_report.latencies_ms(read) == [1, 2, 9, 8]


def test_every_row_says_under_what_circumstances_it_was_made(tmp_path, here):
    rows = Rows(tmp_path / "runs.csv", Run)
    rows.write(run(), here)
    (row,) = rows_of(tmp_path / "runs.csv")
    assert {name: row[name] for name in asdict(here)} == {name: str(value) for name, value in asdict(here).items()}
    assert f"commit {here.commit}" in where([row])
    assert f"load average {here.load:g} to {here.load:g}" in where([row])


def view_rows(*, single_calls, single_s):
    """One repeat of each way; single requests make so many UNet calls and take so long."""
    together = next(iter(VIEW_WAYS))
    others = {"zero123_unet": "100", "inpaint_unet": "50", "wall_s": "10"}
    singles = {"zero123_unet": str(single_calls), "inpaint_unet": "0", "wall_s": str(single_s)}
    return [
        {"way": way, "caches": caches, "views": "12", **(others if way == together else singles)}
        for way in VIEW_WAYS
        for caches in CACHES
    ]


def test_views_together_are_held_against_single_requests():
    assert all(target.met for target in views_report.targets(view_rows(single_calls=450, single_s=20)))
    few, slow = view_rows(single_calls=449, single_s=20), view_rows(single_calls=450, single_s=19.9)
    assert {target.what.split(": ")[1] for target in views_report.targets(few) if not target.met} == {
        "3 x fewer UNet calls"
    }
    assert {target.what.split(": ")[1] for target in views_report.targets(slow) if not target.met} == {"2 x faster"}
