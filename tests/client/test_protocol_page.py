"""docs/protocol.md: written from the contracts, and complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from respin.contracts import JOBS, ROTATE_OBJECT_STREAM
from respin.errors import BY_GRPC_CODE
from respin_client.protocol_page import ALWAYS_PNG, IN_OUTPUT_FORMAT, PRESENCE, STAGES, main, protocol_page

PAGE = Path(__file__).parents[2] / "docs/protocol.md"


def test_the_page_is_up_to_date():
    assert main(["--check", "--page", str(PAGE)]) == 0, "run `python -m respin_client.protocol_page`"


def test_a_page_that_differs_fails_the_check_and_is_written_again(tmp_path, capsys):
    page = tmp_path / "protocol.md"
    assert main(["--check", "--page", str(page)]) == 1
    page.write_text(protocol_page() + "more")
    assert main(["--check", "--page", str(page)]) == 1
    assert "differs from the contracts; run python -m respin_client.protocol_page" in capsys.readouterr().err
    assert main(["--page", str(page)]) == 0
    assert page.read_text() == protocol_page()


@pytest.mark.parametrize("spec", JOBS.values(), ids=lambda spec: spec.name)
def test_every_tensor_of_a_model_has_a_row(spec):
    rows = [line.split("`")[1] for line in protocol_page().splitlines() if line.startswith("| `")]
    assert {tensor.name for tensor in (*spec.inputs, *spec.outputs)} <= set(rows)
    assert PRESENCE[spec.name].keys() == {tensor.name for tensor in spec.outputs}


def test_every_stage_and_every_error_has_a_row():
    (stage,) = [tensor for tensor in ROTATE_OBJECT_STREAM.outputs if tensor.name == "stage"]
    assert list(STAGES) == stage.meaning.split(" | ")
    for code in BY_GRPC_CODE:
        assert f"\n| `{code}` |" in protocol_page()


def test_every_picture_has_a_format():
    pictures = {tensor.name for spec in JOBS.values() for tensor in spec.outputs if tensor.dtype.value == "BYTES"}
    assert pictures - {*ALWAYS_PNG, *IN_OUTPUT_FORMAT} == {"stage", "phrase", "notes", "status"}
