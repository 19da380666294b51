"""Figures of a measurement, and what is required of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.harness.report import table

RAW_TIMEOUT_MS = 120_000  # a question of raw readings is given up then
PERCENTILES = ("p50", "p95", "p99", "worst")


@dataclass(frozen=True)
class Percentiles:
    """A distribution in milliseconds."""

    samples: int
    p50: float
    p95: float
    p99: float
    worst: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Percentiles":
        """Return the percentiles of values in ascending order, in seconds."""
        return cls(len(seconds), *(1000 * percentile(seconds, share) for share in (0.5, 0.95, 0.99, 1.0)))


@dataclass(frozen=True)
class Requirement:
    """A figure beside what is asked of it."""

    what: str
    asked: str
    measured: str
    met: bool


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of values in ascending order.

    0 if there are none.
    """
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))] if ordered else 0.0


def at_most(what: str, limit: float, value: float, unit: str, digits: int = 0) -> Requirement:
    """Require a figure not to be above ``limit``; ``digits`` decimals of it are shown."""
    asked, measured = f"<= {limit:,g} {unit}".strip(), f"{value:,.{digits}f} {unit}".strip()
    return Requirement(what, asked, measured, value <= limit)


def at_least(what: str, limit: float, value: float, unit: str = "", digits: int = 0) -> Requirement:
    """Require a figure not to be below ``limit``.

    ``digits`` decimals of both are shown.
    """
    asked, measured = f">= {limit:,.{digits}f} {unit}".strip(), f"{value:,.{digits}f} {unit}".strip()
    return Requirement(what, asked, measured, value >= limit)


def nothing(what: str, count: float) -> Requirement:
    """Require a count to be zero."""
    return Requirement(what, "0", f"{count:,.0f}", count == 0)


def distributions(
    head: str, rows: Sequence[tuple[str, dict[str, Any]]], samples: str = "samples"
) -> list[str]:
    """Return a table of distributions.

    Each row is a name and the fields of :class:`Percentiles`.
    """
    cells = [
        (name, f"{found['samples']:,}", *(f"{found[column]:.1f} ms" for column in PERCENTILES))
        for name, found in rows
    ]
    return table((head, samples, *PERCENTILES), cells)
