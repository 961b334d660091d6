"""`respin bench` in this process."""

from typer.testing import CliRunner

from respin_benchmarks.commands import app


def bench(*arguments):
    """Run it; the result's `exception` is the error that the `respin` command would print."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def measure(*arguments):
    """Run it, and return what it printed; it must succeed."""
    result = bench(*arguments)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.output
