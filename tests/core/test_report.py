"""Rows, tables, sections and figures of reports."""

import math
from dataclasses import dataclass

import pytest

from respin.errors import InvalidInput
from respin.report.circumstances import Circumstances, commit_here, versions_of
from respin.report.markdown import check_section, table, with_section, write_section
from respin.report.rows import read_rows, write_rows
from respin.report.statistics import distinct_text, median, percentile


@dataclass(frozen=True, kw_only=True)
class Timed(Circumstances):
    name: str
    count: int
    time_s: float


HERE = Circumstances(commit="abc", date="2026-01-01", machine="a laptop", versions="numpy 1")
ROW = Timed(**vars(HERE), name='a "name", with a comma', count=3, time_s=0.5)


def test_rows_are_read_as_they_were_written_with_their_circumstances_last(tmp_path):
    path = tmp_path / "folder" / "rows.csv"
    write_rows(path, Timed, [ROW])
    assert read_rows(path, Timed) == [ROW]
    assert path.read_text().splitlines()[0] == "name,count,time_s,commit,date,machine,versions"
    assert [file.name for file in path.parent.iterdir()] == ["rows.csv"]


def test_without_a_file_there_are_no_rows(tmp_path):
    assert read_rows(tmp_path / "none.csv", Timed) == []


def test_rows_that_fail_on_the_way_leave_the_file_as_it_was(tmp_path):
    write_rows(tmp_path / "rows.csv", Timed, [ROW])
    with pytest.raises(ZeroDivisionError):
        write_rows(tmp_path / "rows.csv", Timed, (ROW for _ in range(2) if 1 / 0))
    assert read_rows(tmp_path / "rows.csv", Timed) == [ROW]


def test_a_table_has_a_line_for_titles_rule_and_each_row():
    assert table(("a", "b"), [("1", "2")]) == ["| a | b |", "|---|---|", "| 1 | 2 |"]


def test_a_section_is_replaced_and_the_rest_of_the_page_stays(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter\n")
    write_section(page, "x", "new\n")
    assert page.read_text() == "before\n<!-- x: begin -->\nnew\n<!-- x: end -->\nafter\n"


@pytest.mark.parametrize("text", ["", "<!-- x: begin -->\n", "<!-- x: end --><!-- x: begin -->\n"])
def test_a_page_without_both_marks_is_refused(text, tmp_path):
    with pytest.raises(InvalidInput, match="the page has no section 'x'; put <!-- x: begin --> and <!-- x: end -->"):
        with_section(text, "x", "new\n")
    with pytest.raises(InvalidInput, match="there is no page"):
        check_section(tmp_path / "none.md", "x")


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 2), (0.51, 3), (0.95, 4), (1, 4), (0.01, 1)])
def test_a_percentile_is_the_value_of_the_nearest_rank(share, wanted):
    assert percentile([4, 1, 3, 2], share) == wanted


def test_there_is_no_percentile_of_nothing_nor_beyond_all():
    assert math.isnan(percentile([], 0.5))
    with pytest.raises(ValueError, match=r"range \[0, 1\]"):
        percentile([1.0], 1.1)


def test_the_median_is_of_those_that_are_numbers():
    assert median([3.0, math.nan, 1.0, 2.0]) == 2
    assert math.isnan(median([math.nan]))


def test_values_in_words_are_named_once():
    assert distinct_text(["b", "a", "b"]) == "b / a"


def test_circumstances_tell_the_commit_and_only_what_is_installed():
    here = Circumstances.now(("numpy", "python", "no-such-package"))
    assert here.commit == commit_here() != "unknown"
    assert list(versions_of(("numpy", "python", "no-such-package"))) == ["numpy", "python"]
    assert "cores of" in here.machine
    assert Circumstances.now((), "a GPU").machine == "a GPU"
