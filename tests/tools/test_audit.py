"""The reading of what pip-audit says: findings count, accepted ones only until their date."""

import importlib.util
from datetime import UTC, date, datetime
from types import ModuleType

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "tools/audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REPORT = {
    "dependencies": [
        {"name": "sound", "version": "1.0", "vulns": []},
        {
            "name": "faulty",
            "version": "2.0",
            "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.1"]}],
        },
        {"name": "unheard", "skip_reason": "not found at the index"},
    ]
}


def test_an_advisory_is_found_and_what_could_not_be_looked_up_is_counted(audit: ModuleType) -> None:
    assert audit.read_report(REPORT, []) == (2, 1, [("faulty 2.0", "PYSEC-1", ["2.1"])])


@pytest.mark.parametrize("accepted", ["PYSEC-1", "CVE-1"])
def test_an_accepted_advisory_is_passed_over_under_either_name(audit: ModuleType, accepted: str) -> None:
    assert audit.read_report(REPORT, [accepted]).found == []


def test_an_advisory_is_accepted_until_its_date(audit: ModuleType) -> None:
    text = "# comment\nCVE-1 2027-01-31 not reachable here\n\nCVE-2 2026-12-01 mended upstream # soon\n"
    assert audit.read_accepted(text, date(2026, 12, 1)) == ["CVE-1", "CVE-2"]
    assert audit.read_accepted(text, date(2026, 12, 2)) == ["CVE-1"]


def test_an_advisory_needs_a_date_and_a_reason(audit: ModuleType) -> None:
    with pytest.raises(ValueError, match="a date such as"):
        audit.read_accepted("CVE-1 2027-01-31\n", date(2026, 12, 1))


def test_the_file_of_accepted_advisories_is_readable(audit: ModuleType) -> None:
    audit.read_accepted(audit.ACCEPTED.read_text(encoding="utf-8"), datetime.now(UTC).date())


def test_every_locked_requirement_is_audited(audit: ModuleType) -> None:
    locked = {path.name for path in (ROOT / "requirements").glob("*.txt")}
    apart = {"audit.txt", "assets.txt", "audit-accepted.txt"}  # the auditor's own, one file, no requirements
    assert {name.rpartition("/")[2] for name in audit.REQUIREMENTS} == (locked - apart) | {"requirements.txt"}
