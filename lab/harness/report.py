"""Reports of experiments: tables in Markdown for people, JSON for programs."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

LINE_LENGTH = 120


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table.

    An empty string in ``head`` is a column without a title.
    """
    return [_row(head), "|" + "---|" * len(head), *(_row(cells) for cells in rows)]


def _row(cells: Sequence[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def one_line(text: str) -> str:
    """Return ``text`` in ASCII, without what would end a line or a cell of a table."""
    return text.encode("ascii", "replace").decode().replace("\n", " ").replace("|", "/")


def write(output: Path, markdown: str, report: Any) -> None:
    """Write a report to OUTPUT.md and OUTPUT.json."""
    output.with_suffix(".md").write_text(markdown, encoding="ascii")
    output.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="ascii")


def paragraph(*texts: str) -> list[str]:
    """Return the lines of a paragraph of these texts, which are joined by spaces."""
    return textwrap.wrap(" ".join(texts), LINE_LENGTH, break_long_words=False, break_on_hyphens=False)
