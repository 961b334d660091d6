"""Find the files that come with Respin: in the checkout, or beside the installed package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from respin.errors import InternalError

_CHECKOUT = Path(__file__).resolve().parents[2]


def bundled_path(name: str) -> Path:
    """Return the path of a bundled file or folder.

    Args:
        name: path from the project's root: "model_repository", "models/mini", "examples".

    Raises:
        InternalError: it is in neither place, so the installation is broken.
    """
    ensemble = importlib.util.find_spec("respin_ensemble")
    roots = [_CHECKOUT]
    if ensemble is not None and ensemble.submodule_search_locations:
        roots.append(Path(ensemble.submodule_search_locations[0]) / "bundled")
    for root in roots:
        if (root / name).is_dir():
            return root / name
    raise InternalError(f"'{name}' did not come with this installation; install respin again")
