"""Sum blocks by hour, day and month.

The sums are continuous aggregates on TimescaleDB and views on plain PostgreSQL, with the same names. Sums of
each device are kept by hours, by the parts of days that all of Brazil's calendars are made of, by days and by
months. Sums of each Conta, by the structure of its devices (quantity, role, behind another meter or not,
unit), are kept by hours and days, so that a question about a thousand devices reads a few rows.

Days, parts and hours sum blocks, months sum days, and a Conta's days sum its hours. A bucket in a zone costs
several microseconds a row: a month of 1,000 devices took 27 s from its 3 million blocks and takes 3 s from
its 31,000 days. A rollup is therefore refreshed before those that sum it (``ROLLUPS`` is in that order). Late
data costs only the buckets that it falls in.

Live code makes the sums from this module. ``tds_new/sql`` shows the resulting SQL, and migrations carry
frozen copies; tests hold all three equal.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from tds_new.storage.timescale import has_timescale


class Sum(NamedTuple):
    """A column of the sums.

    It has its SQL over blocks, over finer sums, and of a single block.
    """

    of_blocks: str
    of_sums: str
    of_one_block: str


SUMS = {
    "consumo": Sum("sum(consumo)", "sum(consumo)", "consumo"),
    "leituras": Sum("sum(leituras)", "sum(leituras)::bigint", "leituras"),
    "blocos": Sum("count(*)", "sum(blocos)::bigint", "1"),
    # Blocks with readings that are not gauges'. A day counts for the month's daily mean where it has one.
    "blocos_lidos": Sum(
        "count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL)",
        "sum(blocos_lidos)::bigint",
        "(leituras > 0 AND consumo IS NOT NULL)::int",
    ),
    "blocos_medidos": Sum("sum(fracao_medida)", "sum(blocos_medidos)", "fracao_medida"),
    "blocos_interpolados": Sum(
        "count(*) FILTER (WHERE qualidade = 'INTERPOLADO')",
        "sum(blocos_interpolados)::bigint",
        "(qualidade = 'INTERPOLADO')::int",
    ),
    "blocos_estimados": Sum(
        "count(*) FILTER (WHERE qualidade = 'ESTIMADO')",
        "sum(blocos_estimados)::bigint",
        "(qualidade = 'ESTIMADO')::int",
    ),
    # The greatest block among those that determine a peak (docs/metering.md), so that a peak is looked for
    # only where it can be.
    "pico": Sum(
        "max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO')",
        "max(pico)",
        "CASE WHEN fracao_medida = 1 AND qualidade = 'MEDIDO' THEN consumo END",
    ),
    "minimo": Sum("min(minimo)", "min(minimo)", "minimo"),
    "maximo": Sum("max(maximo)", "max(maximo)", "maximo"),
    "soma": Sum("sum(soma)", "sum(soma)", "soma"),
    "amostras": Sum("sum(amostras)", "sum(amostras)::bigint", "amostras"),
    "ultimo": Sum("{last}", "{last}", "ultimo"),
}
# The columns of the sums of devices, in this order. Months lack one of them: they have a mean in place of the
# days that it is taken over. Two others have other names there.
DEVICE_SUMS = tuple(SUMS)
COMMON_SUMS = tuple(name for name in DEVICE_SUMS if name != "blocos_lidos")
MONTHLY_NAMES = (("consumo", "total_consumo"), ("leituras", "leituras_count"))
# The columns of the sums of Contas, and what tells their rows apart.
STRUCTURE = "grandeza, papel, atras, unidade"
CONTA_SUMS = ("consumo", "blocos", "blocos_medidos", "blocos_interpolados", "blocos_estimados", "pico")


def _of_blocks(names: Iterable[str]) -> str:
    return ",\n    ".join(f"{SUMS[name].of_blocks} AS {name}" for name in names)


def _of_sums(names: Iterable[str], renamed: Iterable[tuple[str, str]] = ()) -> str:
    return ",\n    ".join(f"{SUMS[name].of_sums} AS {dict(renamed).get(name, name)}" for name in names)


def one_block(names: Iterable[str]) -> str:
    """Return the select list that gives a single block in these columns of the sums."""
    return ", ".join(
        name if SUMS[name].of_one_block == name else f"{SUMS[name].of_one_block} AS {name}" for name in names
    )


class Bucket(NamedTuple):
    """A length of time that sums are kept for.

    It has its SQL for either kind of database, and its length as SQL.
    """

    timescale: str
    plain: str
    length: str


HOUR = Bucket("time_bucket('1 hour', {time})", "date_trunc('hour', {time}, 'UTC')", "1 hour")
DAY = Bucket("time_bucket('1 day', {time}, '{zone}')", "date_trunc('day', {time}, '{zone}')", "1 day")
MONTH = Bucket("time_bucket('1 month', {time}, '{zone}')", "date_trunc('month', {time}, '{zone}')", "1 month")
# The rest of a day begins at 5 o'clock UTC, when the last of Brazil's days has begun.
DAY_FROM_5 = Bucket(
    """time_bucket('1 day', {time}, "offset" => INTERVAL '5 hours')""",
    "date_bin('1 day', {time}, TIMESTAMPTZ '2000-01-01 05:00Z')",
    "1 day",
)


@dataclass(frozen=True, slots=True)
class Rollup:
    """A kind of sum, and how it is kept.

    ``name``: its name in the database. ``column``: its time column, where a bucket begins. ``bucket``: how
    long its buckets are. ``time``: the column of ``select``'s source that is put into buckets. ``select``:
    the statement, with places for the bucket, the time column and the last value. ``end``: how old a bucket's
    end must be before the policy keeps the bucket; younger ones are computed when asked for. ``every``: how
    often the server refreshes it. ``sums``: the columns that it has, by their names in ``SUMS``; ``renamed``:
    which of them have another name here. ``key``: by which column, and by the time, it is looked up;
    ``rest``: which columns else tell its rows apart. ``base``: the rollup that it sums, where it does not sum
    blocks.
    """

    name: str
    column: str
    bucket: Bucket
    time: str
    select: str
    end: timedelta
    every: timedelta
    sums: tuple[str, ...] = DEVICE_SUMS
    key: str = "dispositivo_id"
    rest: str = "conta_id, gateway_id"
    base: "Rollup | None" = None
    renamed: tuple[tuple[str, str], ...] = ()

    @property
    def index(self) -> str:
        """The name of the unique index on its rows."""
        return f"{self.name}_chave"

    @property
    def select_list(self) -> str:
        """The SQL that selects its sums under their names in ``SUMS``."""
        names = dict(self.renamed)
        return ", ".join(f"{names[name]} AS {name}" if name in names else name for name in self.sums)

    @property
    def length(self) -> str:
        """The length of its buckets, as an SQL interval."""
        return self.bucket.length

    @property
    def open_interval(self) -> str:
        """``end`` as SQL."""
        return f"INTERVAL '{int(self.end.total_seconds())} seconds'"

    def bucket_of(self, time: str) -> str:
        """Return the SQL for the bucket of ``time``, itself SQL, on TimescaleDB."""
        return self.bucket.timescale.format(time=time, zone=_zone())


# The days of Brazil begin at 2, 3, 4 or 5 o'clock UTC: the hours from 2, 3 and 4 on are parts of their own,
# the rest of a day is one.
START_OF_PART = """CASE extract(hour FROM bloco AT TIME ZONE 'UTC')
        WHEN 2 THEN 2 WHEN 3 THEN 3 WHEN 4 THEN 4 ELSE 5 END"""
OF_BLOCKS = f"""
SELECT {{bucket}} AS {{column}}, conta_id, gateway_id, dispositivo_id,
    {_of_blocks(DEVICE_SUMS)}
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4"""
PARTS_OF_BLOCKS = f"""
SELECT {{bucket}} AS {{column}},
    {START_OF_PART} AS hora_utc,
    conta_id, gateway_id, dispositivo_id,
    {_of_blocks(DEVICE_SUMS)}
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4, 5"""
OF_DAYS = f"""
SELECT {{bucket}} AS {{column}}, conta_id, gateway_id, dispositivo_id,
    {_of_sums(COMMON_SUMS[:1], MONTHLY_NAMES)},
    round(sum(consumo) / nullif(count(*) FILTER (WHERE blocos_lidos > 0), 0), 4) AS media_diaria,
    {_of_sums(COMMON_SUMS[1:], MONTHLY_NAMES)}
FROM tds_new_consumo_diario
GROUP BY 1, 2, 3, 4"""
# By the structure of the devices as it is when this is computed. Where it changes, a trigger notes the Conta
# in tds_new_consumo_conta_pendente, and maintenance sums again. A year of 500 devices took 38 s so (2.22.1),
# and 14 s from the devices' hours; but those count gauges' blocks too where a device changed its kind within
# an hour.
OF_BLOCKS_OF_CONTAS = f"""
SELECT {{bucket}} AS {{column}}, b.conta_id, d.grandeza, d.papel, d.atras,
    coalesce(nullif(d.unidade_consumo, ''), d.unidade) AS unidade,
    {_of_blocks(CONTA_SUMS)}
FROM tds_new_consumo_15min b JOIN tds_new_dispositivo d ON d.id = b.dispositivo_id
WHERE b.consumo IS NOT NULL
GROUP BY 1, 2, 3, 4, 5, 6"""
OF_HOURS_OF_CONTAS = f"""
SELECT {{bucket}} AS {{column}}, conta_id, {STRUCTURE},
    {_of_sums(CONTA_SUMS)}
FROM tds_new_consumo_conta_horario
GROUP BY 1, 2, 3, 4, 5, 6"""

OPEN_HOUR, OPEN_DAY = timedelta(hours=1), timedelta(days=1)
OFTEN, SELDOM = timedelta(minutes=5), timedelta(minutes=10)
HOURLY = Rollup("tds_new_consumo_horario", "hora", HOUR, "bloco", OF_BLOCKS, OPEN_HOUR, OFTEN)
DAILY = Rollup("tds_new_consumo_diario", "dia", DAY, "bloco", OF_BLOCKS, OPEN_DAY, SELDOM)
# A month's end must lie within the month before, or its policy would never have a whole bucket.
MONTHLY = Rollup(
    "tds_new_consumo_mensal",
    "mes_referencia",
    MONTH,
    "dia",
    OF_DAYS,
    OPEN_DAY,
    SELDOM,
    sums=COMMON_SUMS,
    renamed=MONTHLY_NAMES,
    base=DAILY,
)
DAY_PARTS = Rollup(
    "tds_new_consumo_parte_do_dia",
    "dia",
    DAY_FROM_5,
    "bloco",
    PARTS_OF_BLOCKS,
    OPEN_DAY,
    SELDOM,
    rest="hora_utc, conta_id, gateway_id",
)
CONTA_HOURLY = Rollup(
    "tds_new_consumo_conta_horario",
    "hora",
    HOUR,
    "bloco",
    OF_BLOCKS_OF_CONTAS,
    OPEN_HOUR,
    OFTEN,
    sums=CONTA_SUMS,
    key="conta_id",
    rest=STRUCTURE,
)
CONTA_DAILY = Rollup(
    "tds_new_consumo_conta_diario",
    "dia",
    DAY,
    "hora",
    OF_HOURS_OF_CONTAS,
    OPEN_DAY,
    SELDOM,
    sums=CONTA_SUMS,
    key="conta_id",
    rest=STRUCTURE,
    base=CONTA_HOURLY,
)
OF_DEVICES = (HOURLY, DAILY, MONTHLY)
ROLLUPS = (*OF_DEVICES, DAY_PARTS, CONTA_HOURLY, CONTA_DAILY)

CONTINUOUS = """
CREATE MATERIALIZED VIEW {name}
WITH (timescaledb.continuous, timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = false) AS{select}
WITH NO DATA
"""
IS_CONTINUOUS = "SELECT 1 FROM timescaledb_information.continuous_aggregates WHERE view_name = %s"
MATERIALIZED_IN = """
SELECT format('%%I.%%I', materialization_hypertable_schema, materialization_hypertable_name)
FROM timescaledb_information.continuous_aggregates WHERE view_name = %s
"""
# Unique, on the table that TimescaleDB keeps the view in. Two concurrent refreshes (the server's own job,
# ours, somebody's by hand) of overlapping ranges would both store their buckets, and the sums would be
# doubled from then on (2.22.1: 17,942 of 21,960 days, `test_no_refresh_stores_a_bucket_twice`). With the
# index the second one fails, and its work is left for the next.
UNIQUE = "CREATE UNIQUE INDEX {index} ON {table} ({key}, {column} DESC, {rest})"
# No start: late data of any age is followed up, and only buckets that changed are computed again. Buckets
# younger than the end are computed from the blocks at each query.
POLICY = """
SELECT add_continuous_aggregate_policy('{name}', start_offset => NULL, end_offset => {end},
    schedule_interval => INTERVAL '{every} seconds', if_not_exists => true{one_batch})
"""
# In one batch, so that a failure undoes all of it. Older versions know no batches.
ONE_BATCH = ", buckets_per_batch => 0"
KNOWS_BATCHES = """
SELECT 1 FROM pg_proc
WHERE proname = 'add_continuous_aggregate_policy' AND 'buckets_per_batch' = ANY(proargnames)
"""
ZONE = re.compile(r"(?:time_bucket\('1 mon[^)]*|date_trunc\('month'[^)]*), '([^']+)'")


def statement(rollup: Rollup, *, timescale: bool) -> str:
    """Return the SQL that creates ``rollup`` on TimescaleDB, or on plain PostgreSQL."""
    bucket = rollup.bucket.timescale if timescale else rollup.bucket.plain
    if timescale:
        last = f"last(ultimo, {rollup.time}) FILTER (WHERE ultimo IS NOT NULL)"
    else:
        last = f"(array_agg(ultimo ORDER BY {rollup.time} DESC) FILTER (WHERE ultimo IS NOT NULL))[1]"
    select = rollup.select.format(
        bucket=bucket.format(time=rollup.time, zone=_zone()), column=rollup.column, last=last
    )
    if timescale:
        return CONTINUOUS.format(name=rollup.name, select=select)
    return f"CREATE VIEW {rollup.name} AS{select}"


def _zone() -> str:
    return str(settings.TDS_TIME_ZONE).replace("'", "''")


def create(connection: BaseDatabaseWrapper, *, timescale: bool) -> None:
    """Create all rollups, empty.

    On TimescaleDB they get their unique indexes and refresh policies.
    """
    with connection.cursor() as cursor:
        cursor.execute(KNOWS_BATCHES)
        one_batch = ONE_BATCH if cursor.fetchone() else ""
        for rollup in ROLLUPS:
            cursor.execute(statement(rollup, timescale=timescale))
            if not timescale:
                continue
            cursor.execute(MATERIALIZED_IN, [rollup.name])
            (table,) = cursor.fetchone() or ("",)
            columns = {"key": rollup.key, "column": rollup.column, "rest": rollup.rest}
            cursor.execute(UNIQUE.format(index=rollup.index, table=table, **columns))
            every = int(rollup.every.total_seconds())
            cursor.execute(
                POLICY.format(name=rollup.name, end=rollup.open_interval, every=every, one_batch=one_batch)
            )


def zone_of(connection: BaseDatabaseWrapper) -> str | None:
    """Return the zone that days and months were made for.

    None if there are none yet.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_viewdef(to_regclass(%s))", [MONTHLY.name])
        row = cursor.fetchone()
    found = ZONE.search(row[0] or "") if row else None
    return found[1] if found else None


def drop(connection: BaseDatabaseWrapper) -> None:
    """Drop all rollups, whichever kind each is."""
    timescale = has_timescale(connection)
    with connection.cursor() as cursor:
        for rollup in reversed(ROLLUPS):
            if timescale:
                cursor.execute(IS_CONTINUOUS, [rollup.name])
            continuous = timescale and cursor.fetchone() is not None
            cursor.execute(
                f"DROP MATERIALIZED VIEW {rollup.name}"
                if continuous
                else f"DROP VIEW IF EXISTS {rollup.name}"
            )
