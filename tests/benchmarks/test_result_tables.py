"""Tables from repeats: medians with their spread, percentiles of all repeats, and nothing where nothing is known."""

import math
from dataclasses import dataclass, replace

from respin_benchmarks.circumstances import RepeatRun
from respin_benchmarks.tables import Repeats, cell_table, cells_of, medians_of, percentiles_of, where_text


@dataclass(frozen=True, kw_only=True)
class Row(RepeatRun):
    way: str
    time_s: float
    times_s: str


HERE = {"commit": "abc", "date": "2026-11-26", "machine": "a laptop", "versions": "numpy 1", "load_average": 0.5}
ROW = Row(**HERE, repeat=0, way="loops", time_s=2.0, times_s="1.0 2.0")


def test_a_figure_is_the_median_of_those_repeats_that_have_it():
    times = Repeats([3.0, math.nan, 1.0, 2.0])
    assert f"{times:.1f} ({times.least:.0f} to {times.greatest:.0f}), {times.spread:.0%}" == "2.0 (1 to 3), 100%"


def test_what_is_not_known_is_a_dash():
    unknown = Repeats([math.nan])
    assert f"{unknown:.1f} {unknown.least:.1f} {unknown.spread:.0%} {Repeats([1.0]).spread:.0%}" == "- - - -"


def test_cells_are_sorted_and_keep_their_repeats():
    rows = [replace(ROW, time_s=time_s, way=way) for way, time_s in (("b", 1), ("a", 2), ("b", 3))]
    assert [[row.time_s for row in cell] for cell in cells_of(rows, "way")] == [[2], [1, 3]]
    assert medians_of(cells_of(rows, "way")[1])["time_s"] == 2


def test_percentiles_are_of_all_repeats_together():
    found = percentiles_of([ROW, replace(ROW, times_s="9.0 3.0")], "times_s")
    assert (found["p50"], found["p99"]) == (2, 9)
    assert math.isnan(percentiles_of([replace(ROW, times_s="")], "times_s")["p50"])


def test_a_table_has_a_row_for_each_cell_and_no_column_of_which_nothing_is_known():
    columns = {"way": "{way}", "time, s": "{time_s:.1f}", "other": "{other}"}
    known, unknown = [ROW], [replace(ROW, way="batcher", time_s=math.nan)]
    lines = cell_table(columns, [known, unknown], lambda cell: {"other": len(cell)})
    assert lines == ["| way | time, s | other |", "|---|---|---|", "| loops | 2.0 | 1 |", "| batcher | - | 1 |"]
    assert cell_table(columns, [unknown], lambda cell: {"other": "-"}) == ["| way |", "|---|", "| batcher |"]


def test_the_place_is_told_with_every_commit_and_the_range_of_the_load():
    rows = [ROW, replace(ROW, commit="def", load_average=2.0)]
    assert where_text(rows, "mini set") == (
        "a laptop, 2026-11-26, mini set, commit abc / def, numpy 1; load average 0.5 to 2"
    )
