"""The time that a gateway may be silent before it is offline.

That is three of its expected intervals, and at least five minutes. The rule is here in Python, for the ORM
and in SQL.
"""

from datetime import timedelta

from django.db.models import DurationField, ExpressionWrapper, F, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Greatest

INTERVALS = 3
SHORTEST_S = 300

# An interval, for a statement in which ``intervalo_esperado_s`` is a gateway's.
TOLERATED_SILENCE_SQL = f"greatest({INTERVALS} * intervalo_esperado_s, {SHORTEST_S}) * INTERVAL '1 second'"


def tolerated_silence(expected_interval_s: int) -> timedelta:
    """Return how long a gateway with this interval, in seconds, may be silent."""
    return timedelta(seconds=max(INTERVALS * expected_interval_s, SHORTEST_S))


def tolerated_silence_expression() -> Combinable:
    """Return the same for a query over gateways."""
    seconds = Greatest(INTERVALS * F("intervalo_esperado_s"), SHORTEST_S)
    return ExpressionWrapper(seconds * Value(timedelta(seconds=1)), DurationField())
