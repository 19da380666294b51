"""The rules that are compared: the product's own and others.

The others are its first edition, and six in use elsewhere.

Each has the parameters of a new device, and what is known of the meter: where it wraps, and recorded changes.
"""

from collections.abc import Callable
from functools import partial

from lab.metering import elsewhere, first_edition
from lab.metering.months import DeviceMonth
from lab.metering.product import judge
from lab.metering.scores import Outcome, Rule

PRODUCT = "second edition"


def judge_first_edition(month: DeviceMonth) -> Outcome:
    """Return what the first edition makes of a month.

    A new device had no plausible maximum.
    """
    meter = first_edition.Meter(
        first_edition.Parameters(capacity=month.capacity),
        changes=[first_edition.MeterChange(*change) for change in month.changes],
    )
    register = first_edition.Register(meter)
    for time, value in month.readings:
        register.feed(time, value)
    register.end_chain(None)
    asks = any(
        o.kind is first_edition.SegmentClass.IMPLAUSIVEL or o.settled is None for o in register.occurrences
    )
    return Outcome(sum(segment.amount for segment in register.segments), asks, bool(register.occurrences))


def _silent(count: Callable[[DeviceMonth], int], month: DeviceMonth) -> Outcome:
    return Outcome(count(month), asks=False, marks=False)


RULES: dict[str, Rule] = {
    PRODUCT: judge,
    "first edition": judge_first_edition,
    "Home Assistant, total_increasing": partial(_silent, elsewhere.total_increasing),
    "Home Assistant, utility_meter": partial(_silent, elsewhere.utility_meter),
    "Emoncms, kwh_accumulator": partial(_silent, elsewhere.kwh_accumulator),
    "sum of positive differences": partial(_silent, elsewhere.positive_differences),
    "TimescaleDB Toolkit, counter_agg": partial(_silent, elsewhere.counter_agg),
    "greatest - least of each day": partial(_silent, elsewhere.spread_of_days),
}
