"""Print docs/requests.md, the fields of a request: `python -m respin_client.options_table`."""

from __future__ import annotations

from respin.request import DEFAULTS, OPTIONS

HEADING = """# What a request may say

Each row is a field of `respin_client.RotationRequest`, a flag of `respin rotate` (with `-` for `_`), and an input of
the jobs on the wire. This page is printed by `python -m respin_client.options_table`.

| field | default | range | meaning |
|---|---|---|---|"""


def requests_page() -> str:
    """Return the page in Markdown."""
    return "\n".join([HEADING, *map(_row, OPTIONS)]) + "\n"


def _row(name: str) -> str:
    option = OPTIONS[name]
    default = "required" if option.required else "none" if DEFAULTS[name] in (None, ()) else f"`{DEFAULTS[name]}`"
    cells = (f"`{name}`", default, option.range_text.replace("|", "or"), option.meaning)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(requests_page(), end="")
