"""One report of the parts of a benchmark, for people and for programs."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

from lab.benchmarks.environment import describe_machine
from lab.benchmarks.figures import Requirement
from lab.harness.errors import LabError
from lab.harness.report import one_line, table

Report = dict[str, Any]  # {"parts": {name: {"measured": ..., "requirements": [...], "found": ... or None}}}


class Part(NamedTuple):
    """One part of a benchmark.

    ``measure`` takes a Bench and returns a dataclass; the others take that as a dictionary, as it is in the
    JSON report.
    """

    title: str
    measure: Callable[[Any], Any]
    requirements: Callable[[dict[str, Any]], list[Requirement]]
    section: Callable[[dict[str, Any]], list[str]]


def measure(bench: Any, names: Sequence[str], command: str, parts: Mapping[str, Part]) -> Report:
    """Measure the parts of these names in the order of ``parts``.

    A part that fails says so in the report.

    ``bench`` is what the parts take; ``command`` is the command line that measures them again.
    """
    report: Report = {"parts": {}}
    for number, name in enumerate([name for name in parts if name in names], 1):
        bench.say(f"part {number} of {len(names)}: {name}")
        report["parts"][name] = _measure_part(bench, name, command, parts[name])
    return report


def _measure_part(bench: Any, name: str, command: str, part: Part) -> dict[str, Any]:
    measured = {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "load": os.getloadavg()[0],
        "command": command,
        "machine": describe_machine(bench.environment),
    }
    try:
        found = asdict(part.measure(bench))
    except LabError as error:  # the other parts' figures stand
        bench.say(f"{name} failed: {error}")
        failure = Requirement(name, "a measurement", f"none: {one_line(str(error))[:200]}", met=False)
        return {"measured": measured, "requirements": [asdict(failure)], "found": None}
    requirements = [asdict(requirement) for requirement in part.requirements(found)]
    return {"measured": measured, "requirements": requirements, "found": found}


def failed(report: Report) -> list[str]:
    """Return the names of the parts that could not be measured."""
    return [name for name, part in report["parts"].items() if part["found"] is None]


def merged(older: Report, newer: Report, parts: Mapping[str, Part]) -> Report:
    """Return the newer report with the parts that only the older one has.

    They are in the order of ``parts``.
    """
    found = {**older["parts"], **newer["parts"]}
    return {"parts": {name: found[name] for name in parts if name in found}}


def markdown(report: Report, parts: Mapping[str, Part], head: Sequence[str]) -> str:
    """Return the report for people; ``head`` are its first lines."""
    rows = [
        (line["what"], line["asked"], line["measured"], "met" if line["met"] else "NOT MET")
        for part in report["parts"].values()
        for line in part["requirements"]
    ]
    lines = [*head, "", *table(("what", "asked", "measured", ""), rows)]
    for name, part in report["parts"].items():
        if part["found"] is not None:
            lines += ["", f"## {parts[name].title} ({name})", "", *parts[name].section(part["found"])]
    return "\n".join([*lines, "", "## How it was measured", *_how_measured(report["parts"]), ""])


def _how_measured(parts: dict[str, Any]) -> list[str]:
    """Name each command and machine once with its parts.

    Each part says when it was measured, and the machine's load before.
    """
    runs: dict[tuple[str, str], list[str]] = {}
    for name, part in parts.items():
        measured = part["measured"]
        machine = ", ".join(f"{key} {value}" for key, value in measured["machine"].items())
        load = f" (load {measured['load']:.2f})" if "load" in measured else ""
        runs.setdefault((measured["command"], machine), []).append(f"{name} {measured['at']}{load}")
    lines = []
    for (command, machine), names in runs.items():
        load = "the load is the machine's average of the minute before"
        lines += ["", f"`{command}` on {machine}. {', '.join(names)}; {load}."]
    return lines
