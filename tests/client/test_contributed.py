"""Commands that other parts of Respin add."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
import typer
from typer.testing import CliRunner

from respin_client.command import command_line
from respin_client.contributed import GROUP


def greet(name: str = "you") -> None:
    """Greet somebody."""
    typer.echo(f"hello, {name}")


farewells = typer.Typer()


@farewells.command()
def shout() -> None:
    """Say goodbye loudly."""
    typer.echo("GOODBYE")


@farewells.command()
def wave() -> None:
    """Say nothing."""


def contributed(name: str, value: str) -> typer.Typer:
    return command_line([EntryPoint(name, value, GROUP)])


def test_other_parts_add_their_commands():
    app = contributed("greet", f"{__name__}:greet")
    assert CliRunner().invoke(app, ["greet", "--name", "all"]).stdout == "hello, all\n"


def test_other_parts_add_groups_of_commands():
    app = contributed("farewell", f"{__name__}:farewells")
    assert CliRunner().invoke(app, ["farewell", "shout"]).stdout == "GOODBYE\n"
    assert "Say nothing." in CliRunner().invoke(app, ["farewell", "--help"]).stdout


def test_a_command_whose_extra_is_missing_says_how_to_get_it():
    app = contributed("launch", "no_such_module:launch")
    assert "launch" in (printed := CliRunner().invoke(app, ["--help"]).stdout)
    assert "needs pip install 'respin[serve]'" in printed
    refused = CliRunner().invoke(app, ["launch", "--port", "1", "anything"])
    assert str(refused.exception) == (
        "`respin launch` needs pip install 'respin[serve]' (there is no module 'no_such_module')"
    )


def test_a_bug_in_a_contributed_module_stays_loud(tmp_path, monkeypatch):
    (tmp_path / "buggy_commands.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        contributed("buggy", "buggy_commands:run")
