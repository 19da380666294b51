"""Every test that docs/metering.md names exists, and each known failure mode has one."""

import re

import pytest

from tests.docs.test_reliability import NAME, existing
from tests.support.paths import ROOT

pytestmark = pytest.mark.once

DOCUMENT = (ROOT / "docs" / "metering.md").read_text(encoding="utf-8")


def test_every_test_that_the_rules_name_exists() -> None:
    named = set(NAME.findall(DOCUMENT))
    assert len(named) > 25
    assert named - existing() == set()


def test_every_known_way_to_wrong_figures_has_a_test() -> None:
    section = re.search(
        r"^## Known failure modes of such figures\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL
    )
    assert section
    rows = [line for line in section[1].splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 15
    assert [row for row in rows if not NAME.search(row)] == []
