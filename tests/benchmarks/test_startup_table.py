"""The README's numbers are those of the results."""

from pathlib import Path

import pytest

from respin_benchmarks.startup import markdown_of, rows_of, with_table

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_the_medians_of_the_committed_runs():
    page = (ROOT / "README.md").read_text()
    assert with_table(page, markdown_of(rows_of(ROOT / "benchmarks/results/startup.csv"))) == page


def test_a_page_without_the_marks_is_left_alone():
    with pytest.raises(ValueError, match="not enough values"):
        with_table("no table here", "| table |")
