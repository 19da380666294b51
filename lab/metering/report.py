"""The scores as tables for people and as figures for programs."""

from dataclasses import asdict
from typing import Any

from lab.benchmarks.figures import Requirement, at_most
from lab.harness.report import paragraph, table
from lab.metering.profiles import UNIT
from lab.metering.scores import Score, Scores

SILENTLY_FAR = 0.1  # percent of the months that may be wrong by more than 1 % without a mark
ASKED_THOUGH_EXACT = 4.0  # percent of the months in which somebody may be asked for nothing
HEAD = (
    *("rule", "exact", "wrong, asked", "wrong, only marked", "silently wrong"),
    *("wrong by > 1 %", "silently wrong by > 1 %", "somebody is asked", "asked though exact", "mean error"),
)


def requirements(score: Score) -> list[Requirement]:
    """Return what is required of the product's own rules, beside what they reach."""
    return [
        at_most(
            "months that are silently wrong by more than 1 %",
            SILENTLY_FAR,
            score.share(score.far_silent),
            "%",
            digits=2,
        ),
        at_most(
            "months in which somebody is asked though the figure is exact",
            ASKED_THOUGH_EXACT,
            score.share(score.asked_exact),
            "%",
            digits=2,
        ),
    ]


def markdown(scores: Scores, product: str, seed: int, *, events: bool) -> str:
    """Return the report for people; with ``events`` also scores by event."""
    bars = requirements(scores.rules[product])
    lines = [
        "# Metering benchmark",
        "",
        *paragraph(
            f"{scores.rules[product].months:,} months of simulated devices (seed {seed}), with the",
            "parameters of a new device: homes, shops, factories and water meters, with none to three events",
            "each. The truth is known; a figure is exact within the digits that the register shows and what",
            "no reading can tell.",
        ),
        "",
        *table(("what", "asked", "measured", ""), [_requirement(bar) for bar in bars]),
        "",
        *table(HEAD, [_row(name, score) for name, score in scores.rules.items()]),
        "",
        *paragraph(
            "Asked: a reading of the month waits for a person. Marked: nobody is asked, but a reading is",
            "listed. Silently: neither. Asked though exact: without months in which a meter was changed and",
            "nobody recorded it, a total was saved, or the first reading was wrong: there a question is due.",
            "Errors are in kWh or m3.",
        ),
        "",
        f"`python manage.py benchmark_metering --months {scores.rules[product].months} --seed {seed}`"
        " gives the same figures again.",
    ]
    if events:
        rows = [_row(name, score) for name, score in sorted(scores.events.items())]
        lines += [
            "",
            f"## {product}, by event",
            "",
            *table(("event", "months", *HEAD[1:]), _counted(rows, scores)),
        ]
    return "\n".join([*lines, ""])


def as_dict(scores: Scores, product: str, seed: int) -> dict[str, Any]:
    """Return everything for programs; errors in kWh or m3."""
    return {
        "seed": seed,
        "requirements": [asdict(bar) for bar in requirements(scores.rules[product])],
        "rules": {name: _figures(score) for name, score in scores.rules.items()},
        "events": {name: _figures(score) for name, score in sorted(scores.events.items())},
    }


def _requirement(bar: Requirement) -> tuple[str, str, str, str]:
    return bar.what, bar.asked, bar.measured, "met" if bar.met else "NOT MET"


def _row(name: str, score: Score) -> tuple[str, ...]:
    counts = (
        *(score.exact, score.asked, score.marked, score.silent),
        *(score.far_asked + score.far_marked + score.far_silent, score.far_silent),
        *(score.asking, score.asked_exact),
    )
    error = score.error / score.months / UNIT
    return (name, *(f"{score.share(count):.2f} %" for count in counts), f"{error:,.1f}")


def _counted(rows: list[tuple[str, ...]], scores: Scores) -> list[tuple[str, ...]]:
    return [(name, f"{scores.events[name].months:,}", *cells) for name, *cells in rows]


def _figures(score: Score) -> dict[str, Any]:
    """Return the counts of a score, and its errors in kWh or m3."""
    return {
        **asdict(score),
        "error": round(score.error / score.months / UNIT, 6),
        "worst": score.worst / UNIT,
    }
