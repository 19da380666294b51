"""The parts, and one report of all of them: for people (Markdown, ASCII) and for programs (JSON)."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

from lab.benchmarks import fairness, growth, latency, outage, rate, registry
from lab.benchmarks.environment import describe_machine
from lab.benchmarks.figures import Verdict
from lab.harness.errors import LabError


class Part(NamedTuple):
    """One part: how it is measured, what is asked of it, and its section of the report."""

    title: str
    measure: Callable[[Any], Any]  # takes a Bench, or what stands for it in another benchmark
    verdicts: Callable[[dict[str, Any]], list[Verdict]]
    section: Callable[[dict[str, Any]], list[str]]


PARTS: Mapping[str, Part] = {
    "rate": Part("Full speed", rate.measure, rate.verdicts, rate.section),
    "latency": Part("Latency", latency.measure, latency.verdicts, latency.section),
    "growth": Part("A table that has grown", growth.measure, growth.verdicts, growth.section),
    "registry": Part("Many gateways", registry.measure, registry.verdicts, registry.section),
    "outage": Part("The database away", outage.measure, outage.verdicts, outage.section),
    "fairness": Part("One gateway floods", fairness.measure, fairness.verdicts, fairness.section),
}
HEAD = (
    "# Ingestion benchmark",
    "",
    "Broker, database, consumer and publisher run on one machine, with the shipped settings.",
)


def measure(
    bench: Any, names: Sequence[str], command: str, parts: Mapping[str, Part] = PARTS
) -> dict[str, Any]:
    """Measure the parts of these names in their order: a report, in which a part that failed says so.

    ``bench`` is what the parts take; ``command`` is how to do it again.
    """
    report: dict[str, Any] = {"parts": {}}
    for number, name in enumerate([name for name in parts if name in names], 1):
        bench.say(f"part {number} of {len(names)}: {name}")
        now, machine = datetime.now(UTC), describe_machine(bench.made)
        made_on = {
            "at": f"{now:%Y-%m-%d %H:%M} UTC",
            "load": os.getloadavg()[0],
            "command": command,
            "machine": machine,
        }
        try:
            found = asdict(parts[name].measure(bench))
        except LabError as error:  # the other parts' figures stand
            bench.say(f"{name} failed: {error}")
            report["parts"][name] = {
                "measured": made_on,
                "verdicts": [asdict(_failed(name, error))],
                "found": None,
            }
            continue
        verdicts = [asdict(verdict) for verdict in parts[name].verdicts(found)]
        report["parts"][name] = {"measured": made_on, "verdicts": verdicts, "found": found}
    return report


def _failed(name: str, error: LabError) -> Verdict:
    reason = str(error).encode("ascii", "replace").decode().replace("\n", " ").replace("|", "/")
    return Verdict(name, "a measurement", f"none: {reason[:200]}", met=False)


def failed(report: dict[str, Any]) -> list[str]:
    """The parts that could not be measured."""
    return [name for name, part in report["parts"].items() if part["found"] is None]


def merged(older: dict[str, Any], newer: dict[str, Any], parts: Mapping[str, Part] = PARTS) -> dict[str, Any]:
    """The newer report, with the older one's parts that it does not have."""
    found = {**older["parts"], **newer["parts"]}
    return {"parts": {name: found[name] for name in parts if name in found}}


def markdown(report: dict[str, Any], parts: Mapping[str, Part] = PARTS, head: Sequence[str] = HEAD) -> str:
    """The report for people; ``head`` are its first lines."""
    lines = [*head, "", "| what | asked | measured | |", "|---|---|---|---|"]
    for part in report["parts"].values():
        lines += [
            f"| {v['what']} | {v['asked']} | {v['measured']} | {'met' if v['met'] else 'NOT MET'} |"
            for v in part["verdicts"]
        ]
    for name, part in report["parts"].items():
        if part["found"] is None:
            continue
        lines += ["", f"## {parts[name].title} ({name})", "", *parts[name].section(part["found"])]
    return "\n".join([*lines, "", "## How it was measured", *_measured(report["parts"]), ""])


def _measured(parts: dict[str, Any]) -> list[str]:
    """Commands and machines, each once with its parts: when, and beside what load of the minute before."""
    runs: dict[tuple[str, str], list[str]] = {}
    for name, part in parts.items():
        made_on = part["measured"]
        machine = ", ".join(f"{key} {value}" for key, value in made_on["machine"].items())
        load = f" (load {made_on['load']:.2f})" if "load" in made_on else ""
        runs.setdefault((made_on["command"], machine), []).append(f"{name} {made_on['at']}{load}")
    lines = []
    for (command, machine), names in runs.items():
        lines += [
            "",
            f"`{command}` on {machine}. {', '.join(names)}; the load is the machine's average of the minute before.",
        ]
    return lines
