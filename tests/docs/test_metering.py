"""docs/metering.md against the code: its examples, the tests, classes and rules that it names."""

import re
from fractions import Fraction
from itertools import pairwise

import pytest

from lab.metering.rules import RULES
from tds_new.metering.rules.meter import Meter, MeterChange, Parameters
from tds_new.metering.rules.segments import Register, SegmentClass
from tds_new.metering.times import BLOCK_US
from tds_new.units import default_dip_tolerance, default_hourly_maximum
from tests.docs.test_reliability import NAME, existing
from tests.support.paths import ROOT

pytestmark = pytest.mark.once

DOCUMENT = (ROOT / "docs" / "metering.md").read_text(encoding="utf-8")
UNIT = 10_000  # register values are whole 0.0001


def section(heading: str) -> str:
    """The text below a heading, up to the next one that is not below it."""
    level = heading.partition(" ")[0]
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL
    )
    assert found, heading
    return found[1]


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its first two lines."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_test_that_the_rules_name_exists() -> None:
    named = set(NAME.findall(DOCUMENT))
    assert len(named) > 25
    assert named - existing() == set()


def test_every_known_way_to_wrong_figures_has_a_test() -> None:
    table = rows("## Known failure modes of such figures")
    assert len(table) >= 15
    assert [mode for mode, covered in table if not NAME.search(covered)] == []


EXAMPLES = rows("## In plain words")


def whole(text: str) -> int:
    return int(Fraction(text) * UNIT)


def judged(what: str, readings: str) -> Register:
    """Readings that are 15 minutes apart, judged with the parameters of a new device.

    ``what`` says where the register wraps, and which meter change was entered.
    """
    maximum, tolerance = default_hourly_maximum("ENERGIA", "kWh"), default_dip_tolerance("ENERGIA", "kWh")
    assert maximum is not None
    known = re.search(r"wraps at ([\d.]+)", what)
    parameters = Parameters(whole(known[1]) if known else None, int(maximum * UNIT), int(tolerance * UNIT))
    entered = re.search(r"ended at ([\d.]+), the new one began at ([\d.]+)", what)
    values = [whole(value) for value in readings.split()]
    steps = [abs(after - before) for before, after in pairwise(values)]
    at = steps.index(max(steps)) * BLOCK_US + BLOCK_US // 2
    changes = [MeterChange(at, whole(entered[1]), whole(entered[2]))] if entered else []
    register = Register(Meter(expected_interval=BLOCK_US, base=parameters, changes=changes))
    register.feed_all([number * BLOCK_US for number in range(len(values))], values)
    register.end_chain()
    return register


@pytest.mark.parametrize(
    ("what", "readings", "counted", "asked"), EXAMPLES, ids=[row[0][:40] for row in EXAMPLES]
)
def test_what_a_person_reads_is_what_the_rules_do(what: str, readings: str, counted: str, asked: str) -> None:
    register = judged(what, readings)
    assert sum(segment.amount for segment in register.segments) == whole(counted)
    waits = [occurrence for occurrence in register.occurrences if occurrence.waits]
    listed = [o for o in register.occurrences if o.kind not in (SegmentClass.QUEDA, SegmentClass.SUSPEITA)]
    if asked == "yes":
        assert any(occurrence.settled is not None for occurrence in waits)
    elif asked == "not yet":
        assert waits
        assert all(occurrence.settled is None for occurrence in waits)
    else:
        assert waits == []
        assert bool(listed) == (asked == "no, it is listed")


def test_every_class_is_explained() -> None:
    assert [kind for kind in SegmentClass if f"`{kind}`" not in DOCUMENT] == []


def test_the_figures_of_each_rule_are_those_that_are_listed() -> None:
    listed = {
        (rule.strip("`"), kind): set(re.findall(r"`(\w+)`", names))
        for rule, kinds, names in rows("### What is written down")
        for kind in re.findall(r"`(\w+)`", kinds)
    }
    found: dict[tuple[str, str], set[str]] = {}
    too_fast = "0 1500 3000 4500 6000"
    for what, readings in [*(row[:2] for row in EXAMPLES), ("", too_fast)]:
        for occurrence in judged(what, readings).occurrences:
            names = found.setdefault((occurrence.rule, occurrence.kind.value), set())
            names |= {name for name, _ in occurrence.numbers}
    assert {rule for rule, _ in found} == {"2", "3", "4", "5", "6a", "6b", "6c", "6d", "6e"}
    missing = {key: names - listed.get(key, set()) for key, names in found.items()}
    assert [key for key, names in missing.items() if names] == []


def test_the_benchmark_has_every_rule() -> None:
    assert [row[0] for row in rows("## How often it is right")] == list(RULES)
