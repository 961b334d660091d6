"""`respin bench` hands its arguments to the benchmark, and its exit code back."""

import pytest
from typer.testing import CliRunner

from respin_benchmarks.commands import BENCHMARKS, app


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_explains_itself(name):
    answer = CliRunner().invoke(app, [name, "--help"])
    assert answer.exit_code == 0
    assert "usage:" in answer.output


def test_the_benchmarks_exit_code_is_the_commands():
    assert CliRunner().invoke(app, ["compare", "no.csv", "no.csv"]).exit_code == 2
