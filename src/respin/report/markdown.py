"""Tables in Markdown, and sections of a page that commands write again from results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from respin.errors import InvalidInput


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}", *(f"| {' | '.join(row)} |" for row in rows)]


def write_section(page: Path, name: str, text: str) -> None:
    """Replace what is between a page's two marks of a section.

    Args:
        page: a Markdown file with `<!-- NAME: begin -->` and `<!-- NAME: end -->`.
        name: name of the section.
        text: whole lines.

    Raises:
        InvalidInput: the page has no such marks.
    """
    page.write_text(with_section(page.read_text(), name, text))


def check_section(page: Path, name: str) -> None:
    """Make sure that a page can take a section, before anything is measured.

    Raises:
        InvalidInput: there is no page, or it has no marks of the section.
    """
    if not page.is_file():
        raise InvalidInput(f"there is no page '{page}'; name one that exists, e.g. docs/parity.md")
    with_section(page.read_text(), name, "")


def with_section(page: str, name: str, text: str) -> str:
    """Return a page's text with another section.

    Raises:
        InvalidInput: it has no marks of it.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, found, rest = page.partition(begin)
    if not found or end not in rest:
        raise InvalidInput(f"the page has no section '{name}'; put {begin.strip()} and {end} where it belongs")
    return f"{before}{begin}{text}{rest[rest.index(end) :]}"
