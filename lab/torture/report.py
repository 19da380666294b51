"""A run's summary for people (Markdown, ASCII) and for programs."""

from typing import Any

from lab.torture.invariants import INVARIANTS
from lab.torture.mutants import MUTANTS
from lab.torture.run import RunResult
from lab.torture.schedule import KINDS


def markdown(result: RunResult) -> str:
    """The summary."""
    options, violations = result.options, result.violations
    what = f"{options.messages:,} messages, {len(options.schedule)} faults, seed {options.seed}, {result.database}"
    if options.group:
        what += f", {options.consumers} consumers in share group {options.group}"
    if options.mutant:
        what += f", mutant {options.mutant}"
    lines = [
        "# Torture run",
        "",
        f"{what}; {result.seconds:.0f} s, consumer's peak memory {result.peak_memory:.0f} MiB.",
        "",
    ]
    lines += ["| invariant | | result |", "|---|---|---|"]
    for name, text in INVARIANTS.items():
        count = violations.counts[name]
        lines.append(f"| {name} | {text} | {f'BROKEN ({count})' if count else 'holds'} |")
    lines += ["", "| | |", "|---|---|", *(f"| {name} | {count:,} |" for name, count in result.counts.items())]
    lines += [f"| messages: {kind} | {count:,} |" for kind, count in sorted(result.kinds.items())]
    if result.faults:
        lines += [
            "",
            "| fault | at message | what | lasted | recovery | target |",
            "|---|---|---|---|---|---|",
        ]
    for report in result.faults:
        recovery = f"{report.recovery:.1f} s" if report.recovery is not None else "none"
        note = f" (missed: {report.missed})" if report.missed else ""
        target = KINDS[report.fault.kind].target
        lines.append(
            f"| {report.fault.number} | {report.fault.at:,} | {report.fault}{note} | {report.lasted:.1f} s | {recovery} | {target:.0f} s |"
        )
    for name, texts in sorted(violations.texts.items()):
        lines += [
            "",
            f"{name} broken:",
            "",
            *(f"- {text.encode('ascii', 'replace').decode()}" for text in texts),
        ]
    return "\n".join([*lines, ""])


def mutants_markdown(results: dict[str, RunResult]) -> str:
    """Which mutant was caught by which invariant."""
    lines = ["# Mutants", "", "| mutant | what is wrong | faults | caught by | in |", "|---|---|---|---|---|"]
    for name, result in results.items():
        broken = ", ".join(sorted(result.violations.counts)) or "NOT CAUGHT"
        lines.append(
            f"| {name} | {MUTANTS[name].text} | {', '.join(MUTANTS[name].kinds) or 'none'} | {broken} | {result.seconds:.1f} s |"
        )
    return "\n".join([*lines, ""])


def as_dict(result: RunResult) -> dict[str, Any]:
    """The same for JSON."""
    options = result.options
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
        "invariants": {
            name: {"text": text, "broken": result.violations.counts[name]}
            for name, text in INVARIANTS.items()
        },
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
