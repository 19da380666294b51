"""A database that the version before has filled: nothing moves by the upgrade, people move it.

Its figures were computed by the rules of then, which the laboratory keeps.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from django.conf import settings
from django.db import connections
from psycopg.types.json import Jsonb

from lab.metering.first_edition import Meter, Occurrence, Parameters, Register, Segment
from tests.migrations.conftest import OwnDatabases
from tests.support.consumers import ConsumerProcess
from tests.support.waiting import until

BEFORE = "0013_repair"
START = datetime(2026, 1, 20, 3, tzinfo=UTC)  # midnight in Sao Paulo
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=15)
COUNT = 2000  # readings of a device: until February 9
US = timedelta(microseconds=1)

# By the device's code: the largest consumption per hour, and the values of single readings that are wrong.
# D00 has no limit and a zero in January, D01 a limit and a zero, D02 is clean; the others flicker.
ZERO_AT = 400
METERS: dict[str, tuple[int | None, dict[int, Decimal]]] = {
    "D00": (None, {ZERO_AT: Decimal(0)}),
    "D01": (50, {ZERO_AT: Decimal(0)}),
    "D02": (None, {}),
    **{f"D{n:02}": (None, {600 + n: Decimal("-0.05")}) for n in range(3, 20)},
}

DEVICE = """
INSERT INTO tds_new_dispositivo (conta_id, gateway_id, codigo, consumo_maximo_hora, tolerancia_queda)
VALUES (%s, %s, %s, %s, 0) RETURNING id
"""
READING = """
INSERT INTO tds_new_leitura_dispositivo
    (time, valor, unidade, tipo_leitura, conta_id, dispositivo_id, gateway_id)
SELECT %(start)s::timestamptz + (n - 1) * INTERVAL '15 minutes', valor, 'kWh', 'ACUMULADA',
    %(conta)s, %(device)s, %(gateway)s
FROM unnest(%(values)s::numeric[]) WITH ORDINALITY AS value (valor, n)
"""
BLOCK = """
INSERT INTO tds_new_consumo_15min
    (bloco, consumo, leituras, fracao_medida, qualidade, conta_id, dispositivo_id, gateway_id)
SELECT %(start)s::timestamptz + (n - 1) * INTERVAL '15 minutes', consumo, 1, 1, 'MEDIDO',
    %(conta)s, %(device)s, %(gateway)s
FROM unnest(%(consumption)s::numeric[]) WITH ORDINALITY AS block (consumo, n)
"""
OCCURRENCE = """
INSERT INTO tds_new_ocorrencia_medicao
    (dispositivo_id, conta_id, leitura_em, valor, classe, inicio, valor_base, consumo, decidida_em)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
MONTHS = """
SELECT d.codigo, to_char(b.bloco AT TIME ZONE 'America/Sao_Paulo', 'YYYY-MM'), sum(b.consumo)
FROM tds_new_consumo_15min b JOIN tds_new_dispositivo d ON d.id = b.dispositivo_id
WHERE b.consumo <> 0 GROUP BY 1, 2 ORDER BY 1, 2
"""
LIMITS = "SELECT codigo, consumo_maximo_hora, tolerancia_queda FROM tds_new_dispositivo ORDER BY codigo"
FIRST_EDITION = "SELECT count(*) FROM tds_new_consumo_estado WHERE isfinite(segunda_edicao_desde)"
TRAIL = """
SELECT d.codigo, a.antes ->> 'mes', a.antes ->> 'consumo', a.depois ->> 'consumo', a.usuario
FROM tds_new_auditoria_medicao a JOIN tds_new_dispositivo d ON d.id = a.dispositivo_id
WHERE a.tabela = 'tds_new_consumo_15min' ORDER BY a.id
"""
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$;
CREATE TRIGGER slow AFTER {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""
FAST = "DROP FUNCTION slow CASCADE"


def values_of(number: int, wrong: dict[int, Decimal]) -> list[Decimal]:
    """Return a register that rises by 0.1 a reading; wrong values below 0 are what it flickers by."""
    values = [Decimal(1000 + number) + Decimal("0.1") * n for n in range(COUNT)]
    for n, value in wrong.items():
        values[n] = value if value >= 0 else values[n - 1] + value
    return values


def first_edition(values: list[Decimal], maximum: int | None) -> tuple[list[Decimal], list[Occurrence]]:
    """Return the consumption of each block, and the occurrences, by the rules of then."""
    register = Register(Meter(base=Parameters(hourly_maximum=maximum and maximum * 10_000)))
    for n, value in enumerate(values):
        register.feed((START + n * STEP - EPOCH) // US, int(value * 10_000))
    register.end_chain(None)
    blocks = [Decimal(0)] * COUNT
    for segment in register.segments:
        _spread(blocks, segment)
    return blocks, register.occurrences


def _spread(blocks: list[Decimal], segment: Segment) -> None:
    """Share a segment among its blocks, the rest to the last; it begins and ends with blocks."""
    first, last = ((EPOCH + time * US - START) // STEP for time in (segment.start, segment.end))
    share = segment.amount * 100 // (last - first)
    for n in range(first, last - 1):
        blocks[n] += Decimal(share).scaleb(-6)
    blocks[last - 1] += Decimal(segment.amount * 100 - share * (last - first - 1)).scaleb(-6)


@dataclass(slots=True)
class Upgraded:
    """A database of the version before, upgraded, with the commands of today."""

    name: str
    connection: psycopg.Connection[Any]

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, parameters or None).fetchall()

    def months(self) -> dict[str, list[Decimal]]:
        """Return each device's consumption by month."""
        found: dict[str, list[Decimal]] = {}
        for code, _, consumption in self.rows(MONTHS):
            found.setdefault(code, []).append(consumption.normalize())
        return found

    def everything(self) -> str:
        """Return a digest of every row of ours, but of the record of maintenance."""
        tables = self.rows("""
            SELECT format('%I', relname) FROM pg_class
            WHERE relname LIKE 'tds\\_new\\_%' AND relkind = 'r' ORDER BY 1
        """)
        digest = hashlib.sha256()
        for (table,) in tables:
            digest.update(repr(self.rows(f"SELECT t::text FROM {table} t ORDER BY 1")).encode())
        return digest.hexdigest()

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command on this database."""
        c = connections["default"].settings_dict
        url = f"postgres://{quote(c['USER'])}:{quote(c['PASSWORD'])}@{c['HOST']}:{c['PORT']}/{self.name}"
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=settings.BASE_DIR,
            env={**ConsumerProcess.environment(), "DATABASE_URL": url},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        """Run a command to its end and return what it said."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        return said

    def kill_once(self, condition: str, *arguments: str) -> None:
        """Start a command, and kill it as soon as the statement ``condition`` returns true."""
        process = self.start(*arguments)
        try:
            until(lambda: self.rows(condition)[0][0])
            assert process.poll() is None, "it ended before it could be killed"
        finally:
            process.kill()
            process.communicate()
        ended = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()"
        until(lambda: self.rows(ended)[0][0], "the end of its sessions")


def _fill(connection: psycopg.Connection[Any]) -> None:
    """Store readings and figures as the version before did."""

    def identity(statement: str, *parameters: Any) -> int:
        row = connection.execute(statement, parameters).fetchone()
        assert row is not None
        return int(row[0])

    conta = identity("INSERT INTO tds_new_conta (name) VALUES ('Aurora') RETURNING id")
    gateway = identity(
        "INSERT INTO tds_new_gateway (conta_id, codigo, mac, intervalo_esperado_s, aceita_leituras_desde)"
        " VALUES (%s, 'GW', 'aa:bb:cc:dd:ee:ff', 900, '2020-01-01') RETURNING id",
        conta,
    )
    for number, (code, (maximum, wrong)) in enumerate(METERS.items()):
        device = identity(DEVICE, conta, gateway, code, maximum)
        values = values_of(number, wrong)
        blocks, occurrences = first_edition(values, maximum)
        given = {"start": START, "conta": conta, "device": device, "gateway": gateway}
        connection.execute(READING, {**given, "values": values})
        connection.execute(BLOCK, {**given, "consumption": blocks})
        for o in occurrences:
            at, base, settled = (
                None if time is None else EPOCH + time * US for time in (o.time, o.base_time, o.settled)
            )
            amounts = [
                None if n is None else Decimal(n).scaleb(-4) for n in (o.value, o.base_value, o.amount)
            ]
            connection.execute(
                OCCURRENCE,
                [device, conta, at, amounts[0], o.kind.value, base, amounts[1], amounts[2], settled],
            )
    connection.execute("DELETE FROM tds_new_consumo_pendente")


@pytest.fixture(scope="module")
def template(own_databases: OwnDatabases) -> str:
    """A database that the version before has filled, upgraded."""
    name = own_databases.create()
    own_databases.migrate(name, "tds_new", BEFORE)
    with closing(own_databases.connect(name)) as connection:
        _fill(connection)
    own_databases.migrate(name)
    return name


@pytest.fixture
def upgraded(own_databases: OwnDatabases, template: str) -> Iterator[Upgraded]:
    """A copy of it for one test."""
    name = own_databases.create(template)
    with closing(own_databases.connect(name)) as connection:
        yield Upgraded(name, connection)
    own_databases.drop(name)


def test_of_what_was_never_computed_the_second_edition_holds_from_the_beginning(
    own_databases: OwnDatabases,
) -> None:
    name = own_databases.create()
    own_databases.migrate(name, "tds_new", BEFORE)
    with closing(own_databases.connect(name)) as connection:
        _fill(connection)
        connection.execute("DELETE FROM tds_new_consumo_15min")
        own_databases.migrate(name)
        assert connection.execute(FIRST_EDITION).fetchall() == [(0,)]
    own_databases.drop(name)


RISE = Decimal("0.1") * (COUNT - 1)  # what each register really counted
JANUARY = Decimal("0.1") * 12 * 96  # of it until the month ended
FEBRUARY = RISE - JANUARY
REGISTER = Decimal(1000) + Decimal("0.1") * (ZERO_AT + 1)  # what the zero had counted again


def test_the_upgrade_itself_moves_nothing(upgraded: Upgraded) -> None:
    before = upgraded.months()
    assert before["D00"] == [JANUARY + REGISTER - Decimal("0.2"), FEBRUARY]
    assert before["D02"] == [JANUARY, FEBRUARY]
    assert upgraded.rows(FIRST_EDITION) == [(len(METERS),)]
    upgraded.run("process_consumption", "--once")
    assert upgraded.months() == before
    assert upgraded.rows("SELECT count(*) FROM tds_new_auditoria_medicao WHERE acao = 'UPDATE'") == [(0,)]


def test_dry_runs_say_what_would_change_and_write_nothing(upgraded: Upgraded) -> None:
    before = upgraded.everything()
    rebuild = upgraded.run("rebuild_consumption", "--dry-run")
    given = upgraded.run("apply_metering_defaults", "--dry-run")
    assert upgraded.everything() == before
    assert "Aurora, gateway GW, device D00 (kWh)" in rebuild
    january = rf"2026-01 +{JANUARY + REGISTER - Decimal('0.2')} +{JANUARY.normalize()} +-\d"
    assert re.search(january + r"\S+ +- +final", rebuild)
    assert "device D02" not in rebuild
    assert "[OK] 19 of 20 devices would change, 19 months, 19 of them final; nothing was written" in rebuild
    assert "gets at most 1000 kWh/h and a tolerance of 0.1 kWh" in given
    assert re.search(rf"with rebuild_consumption, for what is before 2026-02-.*\n.*\n +{january}", given)
    assert "[OK] 20 devices would get limits; nothing was written" in given


def test_limits_are_given_one_device_after_the_other_and_a_run_goes_on(upgraded: Upgraded) -> None:
    upgraded.connection.execute(SLOW.format(event="UPDATE", table="tds_new_dispositivo"))
    given = "SELECT count(*) > 3 FROM tds_new_dispositivo WHERE consumo_maximo_hora = 1000"
    upgraded.kill_once(given, "apply_metering_defaults", "--yes")
    upgraded.connection.execute(FAST)
    done = upgraded.rows("SELECT codigo FROM tds_new_dispositivo WHERE tolerancia_queda > 0")
    assert 3 < len(done) < len(METERS)
    said = upgraded.run("apply_metering_defaults", "--yes")
    assert not [code for (code,) in done if f"device {code} " in said]
    assert f"[OK] {len(METERS) - len(done)} devices got limits" in said
    limits = [(c, Decimal(50 if c == "D01" else 1000), Decimal("0.1")) for c in METERS]
    assert upgraded.rows(LIMITS) == limits
    assert upgraded.rows("""
        SELECT count(*), count(DISTINCT dispositivo_id), min(usuario), min(motivo)
        FROM tds_new_auditoria_medicao
        WHERE acao = 'UPDATE' AND depois ->> 'tolerancia_queda' = '0.1000'
    """) == [(20, 20, "apply_metering_defaults", "limites padrão para quem não os tinha")]
    assert "every device has its limits" in upgraded.run("apply_metering_defaults", "--dry-run")
    # What is by the former rules waits for a rebuild, and stays as it was.
    before = upgraded.months()
    upgraded.run("process_consumption", "--once")
    assert upgraded.months() == before
    assert "[WARN] 20 devices wait for rebuild_consumption" in upgraded.run("check_telemetry")


def test_a_limit_that_a_person_refused_is_not_given(upgraded: Upgraded) -> None:
    for code, statement in {
        "D02": "consumo_maximo_hora = NULL",  # there was none: nothing is said
        "D03": "consumo_maximo_hora = 7; consumo_maximo_hora = NULL",
        "D04": "tolerancia_queda = 7; tolerancia_queda = 0",
        "D05": "consumo_maximo_hora = 7",
    }.items():
        for change in statement.split("; "):
            upgraded.connection.execute(f"UPDATE tds_new_dispositivo SET {change} WHERE codigo = '{code}'")
    upgraded.connection.execute("""
        INSERT INTO tds_new_dispositivo (conta_id, gateway_id, codigo, consumo_maximo_hora, tolerancia_queda)
        SELECT conta_id, id, 'D98', NULL, 0 FROM tds_new_gateway;
        INSERT INTO tds_new_dispositivo (conta_id, gateway_id, codigo) SELECT conta_id, id, 'D99'
        FROM tds_new_gateway;
    """)
    upgraded.run("apply_metering_defaults", "--yes")
    found = {code: limits for code, *limits in upgraded.rows(LIMITS)}
    assert found["D02"] == found["D99"] == [1000, Decimal("0.1")]
    assert found["D03"] == [None, Decimal("0.1")]
    assert found["D04"] == [1000, 0]
    assert found["D05"] == [7, Decimal("0.1")]
    assert found["D98"] == [None, 0]


def test_dated_parameters_get_limits_too(upgraded: Upgraded) -> None:
    upgraded.connection.execute("""
        SET session_replication_role = replica;  -- as it was before the upgrade, with no trail since
        INSERT INTO tds_new_vigencia_parametros
            (dispositivo_id, desde, fator_conversao, tolerancia_queda, motivo)
        SELECT id, '2026-02-01', 40, 0, 'TC' FROM tds_new_dispositivo WHERE codigo = 'D02';
        SET session_replication_role = origin;
        INSERT INTO tds_new_vigencia_parametros
            (dispositivo_id, desde, fator_conversao, tolerancia_queda, motivo)
        SELECT id, '2026-03-01', 40, 0, 'sem limite' FROM tds_new_dispositivo WHERE codigo = 'D02';
    """)
    said = upgraded.run("apply_metering_defaults", "--yes")
    assert "gets at most 1000 kWh/h and a tolerance of 0.1 kWh, from 2026-02-01" in said
    assert upgraded.rows(
        "SELECT consumo_maximo_hora, tolerancia_queda FROM tds_new_vigencia_parametros ORDER BY desde"
    ) == [(1000, Decimal("0.1")), (None, 0)]


def test_a_rebuild_brings_the_past_under_the_rules_of_today(upgraded: Upgraded) -> None:
    before = upgraded.months()
    upgraded.run("apply_metering_defaults", "--yes")
    predicted = upgraded.run("rebuild_consumption", "--dry-run")
    upgraded.connection.execute(SLOW.format(event="INSERT OR UPDATE", table="tds_new_consumo_15min"))
    queued = "SELECT count(*) = 1 FROM tds_new_consumo_reconstrucao WHERE entregues > 0"
    upgraded.kill_once(queued, "rebuild_consumption")
    upgraded.connection.execute(FAST)
    assert 0 < upgraded.rows(FIRST_EDITION)[0][0] < len(METERS)
    said = upgraded.run("rebuild_consumption")
    assert "[OK] going on with" in said
    assert "device D00 (kWh): final months changed" in said
    assert "[OK] 19 final months changed; they are in the audit trail" in said
    assert "[OK] 19 of 20 devices would change, 19 months, 19 of them final" in predicted
    assert upgraded.months() == {code: [JANUARY.normalize(), FEBRUARY.normalize()] for code in METERS}
    trail = {code: line for code, *line in upgraded.rows(TRAIL)}
    assert len(trail) == len(upgraded.rows(TRAIL)) == 19
    month, consumed, counted, user = trail["D00"]
    assert (month, user) == ("2026-01", "rebuild_consumption")
    assert [Decimal(consumed), Decimal(counted)] == [before["D00"][0], JANUARY]
    assert upgraded.rows(FIRST_EDITION) == [(0,)]
    assert "[OK] 0 of 20 devices would change" in upgraded.run("rebuild_consumption", "--dry-run")
    assert "[OK] done; 0 block rows differed" in upgraded.run("rebuild_consumption").replace("\n", " ")
    assert len(upgraded.rows(TRAIL)) == 19


def test_what_comes_late_for_the_past_waits_for_the_rebuild(upgraded: Upgraded) -> None:
    before = upgraded.months()
    conta, gateway, device = upgraded.rows(
        "SELECT conta_id, gateway_id, id FROM tds_new_dispositivo WHERE codigo = 'D02'"
    )[0]
    late = START + 100 * STEP + timedelta(minutes=5)
    upgraded.connection.execute(
        """INSERT INTO tds_new_leitura_dispositivo
            (time, valor, unidade, tipo_leitura, conta_id, gateway_id, dispositivo_id, payload_raw)
        VALUES (%s, 1012.05, 'kWh', 'ACUMULADA', %s, %s, %s, %s)""",
        [late, conta, gateway, device, Jsonb({})],
    )
    said = upgraded.run("rebuild_consumption", "--dry-run")
    assert "[WARN] 1 ranges wait for the worker" in said
    upgraded.run("process_consumption", "--once")
    assert upgraded.months() == before
    said = upgraded.run("check_telemetry")
    assert f"[WARN] 1 devices wait for rebuild_consumption, since {late:%Y-%m-%d %H:%M:%SZ}" in said
    upgraded.run("rebuild_consumption")
    assert "rebuild_consumption" not in upgraded.run("check_telemetry")
    assert upgraded.months()["D02"] == [JANUARY.normalize(), FEBRUARY.normalize()]
