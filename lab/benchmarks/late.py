"""A day of readings that comes 30 days late for one device of many: how long until it is right everywhere, and what it touches."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from psycopg import Connection

from lab.benchmarks import dataset, history
from lab.benchmarks.consumption_bench import Bench
from lab.benchmarks.figures import Verdict, at_most, nothing
from lab.harness.errors import LabError
from tds_new.storage.timescale import has_timescale

AGE, LATE = timedelta(days=30), timedelta(days=1)
TIMEOUT = 600.0
EVERY = 0.2

BLOCKS = "SELECT bloco, conta_id, consumo, leituras, fracao_medida, qualidade, minimo, maximo, soma, ultimo FROM tds_new_consumo_15min"
# What is asked of a device at each level, and what its right blocks come to there.
LEVELS = {
    "blocks": (f"{BLOCKS} WHERE dispositivo_id = %(device)s", "SELECT * FROM bench_certo"),
    "hours": (
        "SELECT hora, consumo, leituras FROM tds_new_consumo_horario WHERE dispositivo_id = %(device)s",
        "SELECT date_trunc('hour', bloco, 'UTC'), sum(consumo), sum(leituras) FROM bench_certo GROUP BY 1",
    ),
    "days": (
        "SELECT dia, consumo, leituras FROM tds_new_consumo_diario WHERE dispositivo_id = %(device)s",
        "SELECT date_trunc('day', bloco, %(zone)s), sum(consumo), sum(leituras) FROM bench_certo GROUP BY 1",
    ),
    "months": (
        "SELECT mes_referencia, total_consumo, leituras_count FROM tds_new_consumo_mensal WHERE dispositivo_id = %(device)s",
        "SELECT date_trunc('month', bloco, %(zone)s), sum(consumo), sum(leituras) FROM bench_certo GROUP BY 1",
    ),
}
REMEMBER = f"CREATE TABLE bench_certo AS {BLOCKS} WHERE dispositivo_id = %s"
# xmin and ctid: a row that is written again, the same or not, has others.
OTHERS = """
SELECT count(*), sum(hashtextextended(concat_ws('|', xmin, ctid, bloco, dispositivo_id, consumo, leituras, fracao_medida, qualidade,
    minimo, maximo, soma, ultimo), 0))::text
FROM tds_new_consumo_15min WHERE dispositivo_id <> %s
"""
QUEUED = "SELECT count(*), count(*) FILTER (WHERE dispositivos <> ARRAY[%s]::bigint[]) FROM tds_new_consumo_pendente"
UPKEEP = "SELECT count(*) FROM tds_new_manutencao_execucao WHERE nome LIKE 'refresh%'"


@dataclass(frozen=True)
class Late:
    """What the part found: seconds from the commit of the late readings until each level was right."""

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
    """Fill a history, withhold a day, let it come late. Raises LabError where it does not get right."""
    sizes, made = bench.sizes, bench.made
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start, missing = end - timedelta(days=sizes.days), (end - AGE).replace(hour=0)
    if not start < missing or timedelta(days=sizes.days) > dataset.COMPRESSED_AFTER:
        raise LabError(f"--days: between {AGE.days + 1} and {dataset.COMPRESSED_AFTER.days}")
    bench.fresh(sizes.devices)
    filled = dataset.fill(made.url(), start, end, bench.progress("readings and blocks"))
    with made.connect() as connection:
        device = connection.execute(
            "SELECT id FROM tds_new_dispositivo WHERE tipo_leitura = 'ACUMULADA' LIMIT 1"
        ).fetchone()[0]  # type: ignore[index]
        connection.execute(REMEMBER, [device])
        try:
            with dataset.withheld(connection, device, missing, missing + LATE) as late:
                bench.say(
                    f"{filled.readings:,} readings in {filled.seconds:.0f} s, {late} withheld; statistics and aggregates"
                )
                history.settle(connection)
                with bench.worker():
                    _wait_for_upkeep(connection)
                    before = connection.execute(OTHERS, [device]).fetchone()
                    with connection.transaction():
                        dataset.arrive(connection)
                        ranges, others = connection.execute(QUEUED, [device]).fetchone() or (0, 0)
                    right = _until_right(connection, device)
                after = connection.execute(OTHERS, [device]).fetchone()
        finally:
            connection.execute("DROP TABLE bench_certo")
    bench.say("right after " + ", ".join(f"{seconds:.1f} s ({level})" for level, seconds in right.items()))
    assert before
    return Late(
        sizes.devices, sizes.days, filled.readings, late, ranges, right, others, before[0], before != after
    )


def _wait_for_upkeep(connection: Connection[Any]) -> None:
    """The worker's upkeep refreshes every so often; have it come round once, as it long has in a system that runs."""
    deadline = time.monotonic() + TIMEOUT
    wanted = 3 if has_timescale(connection) else 0
    while (connection.execute(UPKEEP).fetchone() or (0,))[0] < wanted:
        if time.monotonic() > deadline:
            raise LabError("the worker's upkeep did not refresh the sums")
        time.sleep(EVERY)


def _until_right(connection: Connection[Any], device: int) -> dict[str, float]:
    """Ask until every level says what is right; seconds for each."""
    parameters = {"device": device, "zone": settings.TDS_TIME_ZONE}
    right = {
        level: set(connection.execute(wanted, parameters).fetchall()) for level, (_, wanted) in LEVELS.items()
    }
    began = time.monotonic()
    found: dict[str, float] = {}
    while len(found) < len(LEVELS):
        for level in LEVELS.keys() - found.keys():
            if set(connection.execute(LEVELS[level][0], parameters).fetchall()) == right[level]:
                found[level] = time.monotonic() - began
        if time.monotonic() - began > TIMEOUT:
            raise LabError(
                f"after {TIMEOUT:.0f} s not right: {', '.join(sorted(LEVELS.keys() - found.keys()))}"
            )
        time.sleep(EVERY)
    return {level: found[level] for level in LEVELS}


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    """The time, and what was touched."""
    return [
        at_most(
            f"{found['late']} readings 30 days late: until right everywhere",
            60,
            max(found["right"].values()),
            "s",
            1,
        ),
        nothing("ranges queued for other devices", found["other_ranges"]),
        nothing("of the other devices' blocks written", found["others_changed"]),
    ]


def section(found: dict[str, Any]) -> list[str]:
    """The times, and the proof."""
    others, checksum = f"{found['others']:,} block rows", "another" if found["others_changed"] else "the same"
    return [
        f"{found['devices']:,} devices with {found['days']} days of five-minute readings ({found['readings']:,}). The {found['late']}",
        "readings of one device's day 30 days ago come in one transaction; worker and upkeep run as shipped.",
        "",
        "| right after the commit | " + " | ".join(found["right"]) + " |",
        "|---|" + "---|" * len(found["right"]),
        "| | " + " | ".join(f"{seconds:.1f} s" for seconds in found["right"].values()) + " |",
        "",
        f"{found['ranges']} ranges were queued, {found['other_ranges']} of them for other devices. The other devices' {others},",
        f"their places and writing transactions included, have {checksum} checksum before and after.",
    ]
