"""Look for known vulnerabilities in our requirements, and for secrets in our files; `make audit`.

It runs pip-audit and detect-secrets, which `make audit` installs into an environment of their own, and ends
with status 1 if one of them finds something. Where no advisory can be read it says so and goes on: a
registry that does not answer stops nothing.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = (
    "requirements.txt",
    "requirements/embedded.txt",
    "requirements/asgi.txt",
    "requirements/dev.txt",
)
ACCEPTED = ROOT / "requirements/audit-accepted.txt"
BASELINE = ".secrets.baseline"
BIN = Path(sys.executable).parent
MOVED = 3  # detect-secrets-hook found nothing new, and secrets of the baseline on other lines


class Audited(NamedTuple):
    """What pip-audit said: packages that it looked up, those that it could not, and what it found."""

    known: int
    unknown: int
    found: list[tuple[str, str, list[str]]]  # package with version, advisory, versions that mend it


def read_report(document: dict[str, Any], accepted: Iterable[str]) -> Audited:
    """Return the content of pip-audit's JSON without the advisories that are ``accepted``."""
    known = unknown = 0
    found = []
    for package in document["dependencies"]:
        if "skip_reason" in package:
            unknown += 1
            continue
        known += 1
        for advisory in package["vulns"]:
            if not {advisory["id"], *advisory["aliases"]} & set(accepted):
                name = f"{package['name']} {package['version']}"
                found.append((name, advisory["id"], advisory["fix_versions"]))
    return Audited(known, unknown, found)


def read_accepted(text: str, today: date) -> list[str]:
    """Return the advisories that somebody has accepted and whose date has not passed.

    A line has an advisory, a date and a reason; ``#`` begins a comment. Raises ValueError for another form.
    """
    accepted = []
    for line in text.splitlines():
        words = line.partition("#")[0].split(None, 2)
        if not words:
            continue
        if len(words) < 3:
            raise ValueError(f"{line!r}: expected an advisory, a date such as 2027-01-31, and a reason")
        if date.fromisoformat(words[1]) >= today:
            accepted.append(words[0])
    return accepted


def audit_requirements() -> bool:
    """Look up every pinned package; return whether nothing was found."""
    command = [str(BIN / "pip-audit"), "--disable-pip", "--require-hashes", "--format=json"]
    command += ["--progress-spinner=off", *(f"--requirement={name}" for name in REQUIREMENTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        document = json.loads(done.stdout)
    except ValueError:
        words = (done.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"[WARN] vulnerabilities: nothing was looked up, because pip-audit failed: {words}")
        return True
    accepted = read_accepted(ACCEPTED.read_text(encoding="utf-8"), datetime.now(UTC).date())
    audited = read_report(document, accepted)
    for name, advisory, versions in audited.found:
        print(f"[ERROR] {name}: {advisory}; mended in {', '.join(versions) or 'no version yet'}")
    if audited.unknown:
        print(f"[WARN] vulnerabilities: {audited.unknown} packages could not be looked up at the index")
    if audited.known and not audited.found:
        print(f"[OK] vulnerabilities: none known in {audited.known} packages")
    return not audited.found


def scan_for_secrets() -> bool:
    """Look for secrets in every file of the repository; return whether nothing new was found."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = [name for name in listed.stdout.split("\0") if name and name != BASELINE]
    if not names:
        print("[WARN] secrets: this is no git checkout, so no file was looked at")
        return True
    with tempfile.TemporaryDirectory() as folder:
        # A copy, because the scan rewrites the line numbers in its baseline and then ends with MOVED.
        baseline = shutil.copy(ROOT / BASELINE, folder)
        command = [str(BIN / "detect-secrets-hook"), "--baseline", baseline, "--cores", "1", *names]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, MOVED):
        print(done.stdout.strip() or done.stderr.strip())
        print("[ERROR] secrets: found in the files above. If all of them are false alarms, note them with:")
        print(f"    build/audit/bin/detect-secrets scan --baseline {BASELINE}")
        return False
    print(f"[OK] secrets: none in {len(names)} files beside the false alarms that {BASELINE} names")
    return True


def main() -> int:
    """Do both; return 0 if nothing was found, else 1."""
    results = [scan_for_secrets(), audit_requirements()]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
