"""What figures are made of, whichever part measures them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

RAW_TIMEOUT_MS = 120_000  # a question of raw readings is given up then


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
        """The percentiles of values in ascending order."""
        return cls(len(seconds), *(1000 * percentile(seconds, share) for share in (0.5, 0.95, 0.99, 1.0)))


@dataclass(frozen=True)
class Verdict:
    """A figure beside what is asked of it."""

    what: str
    asked: str
    measured: str
    met: bool


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of values in ascending order; 0 where there are none."""
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))] if ordered else 0.0


def at_most(what: str, limit: float, value: float, unit: str, digits: int = 0) -> Verdict:
    """A figure that must not be above ``limit``."""
    return Verdict(
        what, f"<= {limit:,g} {unit}".strip(), f"{value:,.{digits}f} {unit}".strip(), value <= limit
    )


def at_least(what: str, limit: float, value: float, unit: str = "", digits: int = 0) -> Verdict:
    """A figure that must not be below ``limit``."""
    return Verdict(
        what, f">= {limit:,.{digits}f} {unit}".strip(), f"{value:,.{digits}f} {unit}".strip(), value >= limit
    )


def nothing(what: str, count: float) -> Verdict:
    """A count that must be zero."""
    return Verdict(what, "0", f"{count:,.0f}", count == 0)
