"""Checks of what a command is given, before anything is made."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from respin.contracts import NETWORKS
from respin.errors import InvalidInput


def check_networks(names: Iterable[str]) -> None:
    """Check the names of networks.

    Raises:
        InvalidInput: there is no such network.
    """
    if unknown := [name for name in names if name not in NETWORKS]:
        raise InvalidInput(f"no network '{unknown[0]}'; there are {', '.join(NETWORKS)}")


def check_installed(what: str, *modules: str, extra: str = "export") -> None:
    """Check that modules are installed.

    Args:
        what: the command or option that needs them, for the message.
        modules: names of the modules.
        extra: Respin's extra that installs them.

    Raises:
        InvalidInput: one is not.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise InvalidInput(f"{what} needs {module}, which is not installed; pip install 'respin[{extra}]'")
