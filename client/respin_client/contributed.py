"""Commands that other parts of Respin add to `respin`, found by their entry points."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import metadata

import typer

from respin.errors import InvalidInput

GROUP = "respin.commands"
"""Each entry point's value is a function with typer's annotations, or a `typer.Typer` with sub-commands of its own; its
name is the command's."""

EXTRAS = {"respin_server": "serve", "respin_export": "export", "respin_benchmarks": "bench"}
"""Extra to install for the commands of each package."""


def add_contributed(app: typer.Typer, entry_points: Iterable[metadata.EntryPoint]) -> None:
    """Add the commands that are installed, and a stand-in for each whose extra is not.

    Args:
        app: command to add them to.
        entry_points: entry points of the group `respin.commands`.
    """
    for entry_point in entry_points:
        try:
            command = entry_point.load()
        except ModuleNotFoundError as error:
            _add_stand_in(app, entry_point, error.name)
            continue
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry_point.name)
        else:
            app.command(entry_point.name)(command)


def _add_stand_in(app: typer.Typer, entry_point: metadata.EntryPoint, missing: str | None) -> None:
    package = entry_point.module.partition(".")[0]
    needs = f"needs pip install 'respin[{EXTRAS.get(package, 'serve')}]'"
    app.command(
        entry_point.name,
        help=f"{needs}.\n\nThere is no module '{missing}'.",
        # The answer is the same for any flags.
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_refusing(f"`respin {entry_point.name}` {needs} (there is no module '{missing}')"))


def _refusing(sentence: str) -> Callable[[typer.Context], None]:
    def refuse(context: typer.Context) -> None:
        raise InvalidInput(sentence)

    return refuse
