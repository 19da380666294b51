"""A run's report for people (Markdown, ASCII) and for programs."""

from typing import Any

from lab.harness.report import table
from lab.torture.invariants import INVARIANTS
from lab.torture.mutants import MUTANTS
from lab.torture.run import FaultReport, RunResult
from lab.torture.schedule import KINDS


def markdown(result: RunResult) -> str:
    """Return the report of a run."""
    options, counts = result.options, result.violations.counts
    invariants = [
        (name, text, f"BROKEN ({counts[name]})" if counts[name] else "holds")
        for name, text in INVARIANTS.items()
    ]
    figures = [
        *((name, f"{count:,}") for name, count in result.counts.items()),
        *((f"messages: {kind}", f"{count:,}") for kind, count in sorted(result.kinds.items())),
    ]
    what = f"{options.messages:,} messages, {len(options.schedule)} faults, seed {options.seed}"
    what += f", {result.database}"
    if options.group:
        what += f", {options.consumers} consumers in share group {options.group}"
    if options.mutant:
        what += f", mutant {options.mutant}"
    memory = f"consumer's peak memory {result.peak_memory:.0f} MiB"
    lines = ["# Torture run", "", f"{what}; {result.seconds:.0f} s, {memory}.", ""]
    lines += [*table(("invariant", "", "result"), invariants), "", *table(("", ""), figures)]
    if result.faults:
        head = ("fault", "at message", "what", "lasted", "recovery", "target")
        lines += ["", *table(head, [_fault_cells(report) for report in result.faults])]
    for name, texts in sorted(result.violations.texts.items()):
        broken = [f"- {text.encode('ascii', 'replace').decode()}" for text in texts]
        lines += ["", f"{name} broken:", "", *broken]
    return "\n".join([*lines, ""])


def _fault_cells(report: FaultReport) -> tuple[str, ...]:
    fault = report.fault
    note = f" (missed: {report.missed})" if report.missed else ""
    recovery = f"{report.recovery:.1f} s" if report.recovery is not None else "none"
    target = f"{KINDS[fault.kind].target:.0f} s"
    return str(fault.number), f"{fault.at:,}", f"{fault}{note}", f"{report.lasted:.1f} s", recovery, target


def mutants_markdown(results: dict[str, RunResult]) -> str:
    """Return which mutant was caught by which invariant."""
    cells = [
        (
            name,
            MUTANTS[name].text,
            ", ".join(MUTANTS[name].kinds) or "none",
            ", ".join(sorted(result.violations.counts)) or "NOT CAUGHT",
            f"{result.seconds:.1f} s",
        )
        for name, result in results.items()
    ]
    lines = ["# Mutants", "", *table(("mutant", "what is wrong", "faults", "caught by", "in"), cells)]
    return "\n".join([*lines, ""])


def as_dict(result: RunResult) -> dict[str, Any]:
    """Return the report of a run for JSON."""
    options, counts = result.options, result.violations.counts
    return {
        "seed": options.seed,
        "messages": options.messages,
        "database": result.database,
        "consumers": options.consumers,
        "share_group": options.group,
        "mutant": options.mutant,
        "passed": result.passed,
        "seconds": round(result.seconds, 1),
        "peak_memory_mib": round(result.peak_memory, 1),
        "invariants": {name: {"text": text, "broken": counts[name]} for name, text in INVARIANTS.items()},
        "violations": result.violations.texts,
        "counts": result.counts,
        "kinds": dict(result.kinds),
        "faults": [
            {
                "number": report.fault.number,
                "kind": report.fault.kind,
                "parameters": report.fault.parameters,
                "at": report.fault.at,
                "lasted_s": round(report.lasted, 2),
                "recovery_s": None if report.recovery is None else round(report.recovery, 2),
                "target_s": KINDS[report.fault.kind].target,
                "missed": report.missed,
            }
            for report in result.faults
        ],
    }
