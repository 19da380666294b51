"""docs/architecture.md against the code: packages with what they do and may import, and every trigger."""

import ast
import re

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.once

DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its first two lines."""
    section = DOCUMENT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def packages() -> dict[str, list[str]]:
    """Each package with the first sentence of its docstring and its line ``May import``."""
    found = {}
    for top in ("tds_new", "lab"):
        for path in sorted((ROOT / top).glob("*/__init__.py")):
            if path.parent.name in ("migrations", "management", "templatetags"):
                continue
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            sentence = " ".join(text.partition("\n\n")[0].split())
            may = re.search(r"^May import: (.*?)(?=\n\n|\n[A-Z][a-z ]+: |\Z)", text, re.MULTILINE | re.DOTALL)
            found[f"{top}/{path.parent.name}"] = [sentence, " ".join(may[1].split()) if may else ""]
    return found


def test_the_table_of_packages_says_what_the_packages_say() -> None:
    table = {name.strip("`"): [does, may] for name, does, may in rows("Packages")}
    assert table == {
        name: [sentence.replace("``", "`"), may.replace("``", "`")]
        for name, (sentence, may) in packages().items()
    }


def test_the_table_of_triggers_has_every_trigger_and_no_other() -> None:
    text = (ROOT / "tds_new" / "sql" / "triggers.sql").read_text(encoding="utf-8")
    real = set(re.findall(r"CREATE (?:CONSTRAINT )?TRIGGER (\w+)", text))
    assert real
    assert {name for row in rows("Triggers") for name in re.findall(r"`(\w+)`", row[1])} == real
