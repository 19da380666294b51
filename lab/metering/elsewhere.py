"""Six rules in use elsewhere, written from their public sources.

Each takes a device's month and returns its consumption in whole 0.0001. None of them asks a person.
"""

from collections import defaultdict
from itertools import pairwise

from lab.metering.months import DeviceMonth
from lab.metering.profiles import UNIT
from tds_new.metering.times import DAY_US, HOUR_US

STRONGEST = 60 * UNIT  # kWh an hour: ``$max_power`` of kwh_accumulator, for water m3 an hour
SAO_PAULO_US = -3 * HOUR_US


def total_increasing(month: DeviceMonth) -> int:
    """Home Assistant, statistics of a ``total_increasing`` sensor.

    ``reset_detected`` in homeassistant/components/sensor/recorder.py: a fall by more than a tenth is a new
    beginning from 0, a smaller one is counted as it is, negative values are left out.
    """
    total, before = 0, None
    for _, value in month.received:
        if value < 0:
            continue
        if before is not None:
            total += value if 10 * value < 9 * before else value - before
        before = value
    return total


def utility_meter(month: DeviceMonth) -> int:
    """Home Assistant's ``utility_meter``: a fall counts nothing.

    ``calculate_adjustment`` in homeassistant/components/utility_meter/sensor.py; readings as they arrive.
    """
    return _rises([value for _, value in month.received])


def kwh_accumulator(month: DeviceMonth) -> int:
    """Emoncms, process ``kwh_accumulator``: a rise counts if it is slower than 60 kW.

    Modules/process/process_processlist.php of emoncms/emoncms; time since the last value of the feed, rise
    since the last input, which stays also where it was not counted.
    """
    total, before, newest = 0, None, 0
    for time, value in month.received:
        if before is not None:
            rise, elapsed = value - before, time - newest
            if elapsed > 0 and rise > 0 and rise * HOUR_US < STRONGEST * elapsed:
                total += rise
        before, newest = value, max(newest, time)
    return total


def positive_differences(month: DeviceMonth) -> int:
    """InfluxQL's ``NON_NEGATIVE_DIFFERENCE``, summed: a fall counts nothing.

    Readings are in order of time.
    """
    return _rises([value for _, value in month.readings])


def counter_agg(month: DeviceMonth) -> int:
    """TimescaleDB Toolkit, ``delta(counter_agg(...))``: any fall begins from 0 again.

    Prometheus' ``increase`` does the same.
    """
    return sum(
        after - before if after >= before else after for (_, before), (_, after) in pairwise(month.readings)
    )


def spread_of_days(month: DeviceMonth) -> int:
    """InfluxQL's ``SPREAD`` of each local day: the greatest value less the least."""
    days = defaultdict(list)
    for time, value in month.readings:
        days[(time + SAO_PAULO_US) // DAY_US].append(value)
    return sum(max(day) - min(day) for day in days.values())


def _rises(values: list[int]) -> int:
    return sum(max(0, after - before) for before, after in pairwise(values))
