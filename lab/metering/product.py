"""The product's own rules, as its ledger applies them to a new device."""

from fractions import Fraction

from lab.metering.months import DeviceMonth
from lab.metering.profiles import UNIT, Consumer
from lab.metering.scores import Outcome
from tds_new.metering.rules.blocks import Chain, Computation, compute_chains, consumption_of
from tds_new.metering.rules.meter import Meter, MeterChange, Parameters
from tds_new.metering.rules.unusual import unusual
from tds_new.units import default_dip_tolerance, default_hourly_maximum

CONTA, GATEWAY = 1, 1
MILLIONTHS = 100  # a block's consumption is in whole 0.000001
ENERGY, WATER = ("ENERGIA", "kWh"), ("AGUA", "m³")


def quantity_and_unit(consumer: Consumer) -> tuple[str, str]:
    """Return ``grandeza`` and ``unidade`` of a consumer's meter."""
    return WATER if consumer is Consumer.WATER else ENERGY


def parameters_of_new(consumer: Consumer, capacity: int | None) -> Parameters:
    """Return the parameters that a new device gets.

    ``capacity`` is where its register is known to wrap.
    """
    quantity, unit = quantity_and_unit(consumer)
    maximum = default_hourly_maximum(quantity, unit)
    tolerance = default_dip_tolerance(quantity, unit)
    return Parameters(
        capacity=capacity,
        hourly_maximum=None if maximum is None else _whole(maximum),
        dip_tolerance=_whole(tolerance),
    )


def meter_of(month: DeviceMonth) -> Meter:
    """Return the meter of a new device, with the changes that somebody recorded."""
    return Meter(
        expected_interval=month.step,
        base=parameters_of_new(month.consumer, month.capacity),
        changes=[MeterChange(*change) for change in month.changes],
    )


def compute(month: DeviceMonth) -> Computation:
    """Return the blocks and occurrences that a month's readings give."""
    times, values = (list(column) for column in zip(*month.readings, strict=True))
    unit = quantity_and_unit(month.consumer)[1]
    chain = Chain(CONTA, "ACUMULADA", unit, times, values, [GATEWAY] * len(times))
    return compute_chains([chain], meter_of(month))


def judge(month: DeviceMonth) -> Outcome:
    """Return what the product makes of a month."""
    found = compute(month)
    (account,) = found.accounts
    hours = consumption_of(account.segments, meter_of(month))
    notable = unusual(account.segments, hours, zero_start=account.zero_start)
    consumed = sum(block.consumption or 0 for block in found.blocks.values())
    asks = bool(notable) or any(occurrence.waits for occurrence in found.occurrences)
    return Outcome(consumed // MILLIONTHS, asks, marks=asks or bool(found.occurrences))


def _whole(amount: Fraction) -> int:
    """Return a register amount in whole 0.0001."""
    return int(amount * UNIT)
