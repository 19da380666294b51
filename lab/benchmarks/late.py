"""A day of readings that comes 30 days late for one device of many.

The part measures the time until all figures are right, and which rows are touched.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from psycopg import Connection

from lab.benchmarks import dataset, history
from lab.benchmarks.consumption_bench import Bench
from lab.benchmarks.figures import Requirement, at_most, nothing
from lab.harness.errors import LabError
from lab.harness.report import paragraph, table
from lab.harness.waiting import wait_until
from tds_new.storage.timescale import has_timescale

AGE, LATE = timedelta(days=30), timedelta(days=1)
TIMEOUT_S = 600.0
INTERVAL_S = 0.2

BLOCKS = """
SELECT bloco, conta_id, consumo, leituras, fracao_medida, qualidade, minimo, maximo, soma, ultimo
FROM tds_new_consumo_15min WHERE dispositivo_id = %(device)s
"""
# The figures of a device at each level, beside the totals of its right blocks.
LEVELS = {
    "blocks": (BLOCKS, "SELECT * FROM bench_expected"),
    "hours": (
        "SELECT hora, consumo, leituras FROM tds_new_consumo_horario WHERE dispositivo_id = %(device)s",
        "SELECT date_trunc('hour', bloco, 'UTC'), sum(consumo), sum(leituras) FROM bench_expected GROUP BY 1",
    ),
    "days": (
        "SELECT dia, consumo, leituras FROM tds_new_consumo_diario WHERE dispositivo_id = %(device)s",
        "SELECT date_trunc('day', bloco, %(zone)s), sum(consumo), sum(leituras)"
        " FROM bench_expected GROUP BY 1",
    ),
    "months": (
        "SELECT mes_referencia, total_consumo, leituras_count FROM tds_new_consumo_mensal"
        " WHERE dispositivo_id = %(device)s",
        "SELECT date_trunc('month', bloco, %(zone)s), sum(consumo), sum(leituras)"
        " FROM bench_expected GROUP BY 1",
    ),
}
REGISTER_OF = "SELECT id FROM tds_new_dispositivo WHERE tipo_leitura = 'ACUMULADA' LIMIT 1"
KEEP_EXPECTED = f"CREATE TABLE bench_expected AS {BLOCKS}"
# xmin and ctid: a row that is written again, the same or not, has others.
OTHERS = """
SELECT count(*), sum(hashtextextended(concat_ws('|', xmin, ctid, bloco, dispositivo_id, consumo, leituras,
    fracao_medida, qualidade, minimo, maximo, soma, ultimo), 0))::text
FROM tds_new_consumo_15min WHERE dispositivo_id <> %s
"""
QUEUED = """
SELECT count(*), count(*) FILTER (WHERE dispositivos <> ARRAY[%s]::bigint[]) FROM tds_new_consumo_pendente
"""
REFRESHED = "SELECT count(*) FROM tds_new_manutencao_execucao WHERE nome LIKE 'refresh%'"


@dataclass(frozen=True)
class Late:
    """The figures of the part.

    ``right`` has the seconds from the commit of the late readings until each level was right. ``others`` are
    the block rows of the other devices, ``other_ranges`` the ranges queued for them.
    """

    devices: int
    days: int
    readings: int
    late: int
    ranges: int
    right: dict[str, float]
    other_ranges: int
    others: int
    others_changed: bool


def measure(bench: Bench) -> Late:
    """Fill a history, withhold a day, let it come late.

    Raises LabError if the figures do not become right.
    """
    sizes, environment = bench.sizes, bench.environment
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start, missing = end - timedelta(days=sizes.days), (end - AGE).replace(hour=0)
    if not start < missing or timedelta(days=sizes.days) > dataset.COMPRESSED_AFTER:
        raise LabError(f"--days: between {AGE.days + 1} and {dataset.COMPRESSED_AFTER.days}")
    bench.register_only(sizes.devices)
    filled = dataset.fill(environment.url(), start, end, bench.progress("readings and blocks"))
    with environment.connect() as connection:
        device = connection.execute(REGISTER_OF).fetchone()[0]  # type: ignore[index]
        connection.execute(KEEP_EXPECTED, {"device": device})
        try:
            with dataset.withheld(connection, device, missing, missing + LATE) as late:
                bench.say(
                    f"{filled.readings:,} readings in {filled.seconds:.0f} s, {late} withheld; "
                    "statistics and aggregates"
                )
                history.settle(connection)
                with bench.worker():
                    _wait_for_refresh(connection)
                    before = connection.execute(OTHERS, [device]).fetchone()
                    with connection.transaction():
                        dataset.store_withheld(connection)
                        ranges, other_ranges = connection.execute(QUEUED, [device]).fetchone() or (0, 0)
                    right = _wait_until_right(connection, device)
                after = connection.execute(OTHERS, [device]).fetchone()
        finally:
            connection.execute("DROP TABLE bench_expected")
    bench.say("right after " + ", ".join(f"{seconds:.1f} s ({level})" for level, seconds in right.items()))
    assert before
    return Late(
        sizes.devices,
        sizes.days,
        filled.readings,
        late,
        ranges,
        right,
        other_ranges,
        others=before[0],
        others_changed=before != after,
    )


def _wait_for_refresh(connection: Connection[Any]) -> None:
    """Wait until the worker's maintenance has refreshed the sums once.

    In a running system it has done so long ago.
    """
    wanted = 3 if has_timescale(connection) else 0
    wait_until(
        lambda: (connection.execute(REFRESHED).fetchone() or (0,))[0] >= wanted,
        "the worker's maintenance has refreshed the sums",
        TIMEOUT_S,
        interval=INTERVAL_S,
    )


def _wait_until_right(connection: Connection[Any], device: int) -> dict[str, float]:
    """Ask until every level says what is right; return the seconds for each.

    Raises LabError if one does not.
    """
    parameters = {"device": device, "zone": settings.TDS_TIME_ZONE}
    right = {
        level: set(connection.execute(wanted, parameters).fetchall()) for level, (_, wanted) in LEVELS.items()
    }
    began = time.monotonic()
    found: dict[str, float] = {}
    while left := LEVELS.keys() - found.keys():
        for level in left:
            if set(connection.execute(LEVELS[level][0], parameters).fetchall()) == right[level]:
                found[level] = time.monotonic() - began
        if time.monotonic() - began > TIMEOUT_S:
            raise LabError(f"after {TIMEOUT_S:.0f} s not right: {', '.join(sorted(left))}")
        time.sleep(INTERVAL_S)
    return {level: found[level] for level in LEVELS}


def requirements(figures: dict[str, Any]) -> list[Requirement]:
    """Require a bound of the time, and that no other device is touched."""
    slowest = max(figures["right"].values())
    return [
        at_most(f"{figures['late']} readings 30 days late: until right everywhere", 60, slowest, "s", 1),
        nothing("ranges queued for other devices", figures["other_ranges"]),
        nothing("of the other devices' blocks written", figures["others_changed"]),
    ]


def section(figures: dict[str, Any]) -> list[str]:
    """Describe the times, and how the other devices' blocks were compared."""
    checksum = "another" if figures["others_changed"] else "the same"
    times = [f"{seconds:.1f} s" for seconds in figures["right"].values()]
    return [
        *paragraph(
            f"{figures['devices']:,} devices with {figures['days']} days of five-minute readings",
            f"({figures['readings']:,}). The {figures['late']} readings of one device's day 30 days ago come",
            "in one transaction; worker and maintenance run as shipped.",
        ),
        "",
        *table(("right after the commit", *figures["right"]), [("", *times)]),
        "",
        *paragraph(
            f"{figures['ranges']} ranges were queued, {figures['other_ranges']} of them for other devices.",
            f"The other devices' {figures['others']:,} block rows, their places and writing transactions",
            f"included, have {checksum} checksum before and after.",
        ),
    ]
