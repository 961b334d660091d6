"""Numbers that make no sense are refused before anything is measured."""

import pytest

from respin_benchmarks.in_process.__main__ import main as in_process
from respin_benchmarks.served.__main__ import main as served


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many"])
@pytest.mark.parametrize(
    ("command", "option"), [(served, "--concurrency"), (served, "--views"), (in_process, "--calls")]
)
def test_less_than_one_is_refused_in_a_sentence(command, option, number, capsys):
    with pytest.raises(SystemExit) as left:
        command([option, number])
    assert left.value.code == 2
    assert f"got '{number}'; send 1 or more" in capsys.readouterr().err
