"""docs/reliability.md against the code: every test and every fault of the harness that it names is there."""

import ast
import re
from functools import cache

import pytest

from lab.torture.schedule import KILL_POINTS, KINDS
from tests.support.paths import ROOT

pytestmark = pytest.mark.once

DOCUMENT = ROOT / "docs" / "reliability.md"
NAME = re.compile(r"`(test_[a-z0-9_]+)`")


@cache
def existing() -> frozenset[str]:
    """Every test function of the suite."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "tests").rglob("test_*.py"))
    return frozenset(
        node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    )


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its first two lines."""
    section = re.search(
        rf"^## {heading}\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert section, heading
    lines = [line for line in section[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_test_that_is_named_exists() -> None:
    named = set(NAME.findall(DOCUMENT.read_text(encoding="utf-8")))
    assert len(named) > 60
    assert named - existing() == set()


def test_every_fault_has_its_row_and_something_that_covers_it_or_is_said_to_be_later() -> None:
    found = {int(number): covered for number, _, covered in rows("The faults")}
    assert list(found) == list(range(1, 54))
    silent = {
        n
        for n, covered in found.items()
        if not NAME.search(covered) and not re.search(r"harness|later|torture_ingest|--", covered)
    }
    assert silent == set()


def test_every_fault_of_the_harness_that_is_named_can_be_injected() -> None:
    named = {
        name
        for _, _, covered in rows("The faults")
        for part in re.findall(r"harness ((?:`[a-z_]+`(?:, | and )?)+)", covered)
        for name in re.findall(r"`([a-z_]+)`", part)
    }
    assert len(named) > 20
    assert named - KINDS.keys() == set()
    points = re.search(r"`kill` \(([a-z_, ]+)\)", DOCUMENT.read_text(encoding="utf-8"))
    assert points
    assert points[1].split(", ") == list(KILL_POINTS)


def test_every_known_failure_mode_has_a_test() -> None:
    table = rows("Known failure modes of such systems")
    assert len(table) >= 19
    assert [mode for mode, covered in table if not NAME.search(covered)] == []
