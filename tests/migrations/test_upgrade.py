"""A migration from nothing or from any earlier commit ends with the same schema."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.migrations.catalog import Catalog, catalog, differences, settings_rows
from tests.migrations.conftest import OwnDatabases
from tests.migrations.states import State, states

BORDER = datetime(2026, 3, 1, tzinfo=UTC)
CONTA = "INSERT INTO tds_new_conta (name) VALUES ('A') RETURNING id"
GATEWAY = """
INSERT INTO tds_new_gateway (conta_id, codigo, mac) VALUES (%s, 'G', 'aa:bb:cc:dd:ee:ff') RETURNING id
"""
DEVICE = """
INSERT INTO tds_new_dispositivo (conta_id, gateway_id, codigo) VALUES (%s, %s, 'M') RETURNING id
"""
READINGS = """
INSERT INTO tds_new_leitura_dispositivo
    (time, valor, unidade, tipo_leitura, conta_id, dispositivo_id, gateway_id)
SELECT %(border)s::timestamptz + n * INTERVAL '15 minutes', n, 'kWh', 'ACUMULADA',
    %(conta)s, %(device)s, %(gateway)s
FROM generate_series(1, 200) n
"""
# The first edition has computed something of each device.
FIGURES = """
INSERT INTO tds_new_consumo_15min
    (bloco, leituras, fracao_medida, qualidade, conta_id, dispositivo_id, gateway_id)
SELECT date_bin('15 minutes', max(time), 'epoch'), 1, 1, 'MEDIDO', conta_id, dispositivo_id, gateway_id
FROM tds_new_leitura_dispositivo GROUP BY conta_id, dispositivo_id, gateway_id
ON CONFLICT DO NOTHING
"""
BLOCKS = """
INSERT INTO tds_new_consumo_15min
    (bloco, consumo, leituras, fracao_medida, qualidade, conta_id, dispositivo_id, gateway_id)
SELECT %(border)s::timestamptz + n * INTERVAL '15 minutes', 1, 1, 1, 'MEDIDO',
    %(conta)s, %(device)s, %(gateway)s
FROM generate_series(1, 200) n
"""
ANCHOR = """
INSERT INTO tds_new_consumo_ancora
    (dispositivo_id, leitura_em, valor, tipo_leitura, unidade, conta_id, gateway_id)
VALUES (%(device)s, %(border)s::timestamptz - INTERVAL '3 days', 7, 'ACUMULADA', 'kWh',
    %(conta)s, %(gateway)s)
"""
TOTALS = """
SELECT (SELECT sum(consumo) FROM tds_new_consumo_horario),
    (SELECT sum(consumo) FROM tds_new_consumo_diario),
    (SELECT sum(total_consumo) FROM tds_new_consumo_mensal),
    (SELECT sum(valor) FROM tds_new_leitura_dispositivo)
"""


def _state_parameters() -> list[Any]:
    marks = {"plain": pytest.mark.once, "timescale": pytest.mark.timescale}
    return [
        pytest.param(state, marks=mark, id=f"{kind}-{state}")
        for kind, mark in marks.items()
        for state in states(kind)
    ]


@pytest.fixture(scope="module")
def new_schema(own_databases: OwnDatabases) -> Iterator[tuple[Catalog, Catalog]]:
    """The catalogue, and the rows of settings, of a database that is migrated from nothing."""
    name = own_databases.create()
    own_databases.migrate(name, "tds_new")
    with closing(own_databases.connect(name)) as connection:
        yield catalog(connection), settings_rows(connection)


@pytest.fixture(scope="module")
def before_ours(own_databases: OwnDatabases) -> str:
    """A database that has the tables of Django that ours refer to, and none of ours."""
    name = own_databases.create()
    own_databases.migrate(name, "auth")
    return name


@pytest.fixture
def earlier(own_databases: OwnDatabases, before_ours: str) -> Iterator[str]:
    """A database to restore an earlier state in."""
    name = own_databases.create(before_ours)
    yield name
    own_databases.drop(name)


@pytest.mark.parametrize("state", _state_parameters())
def test_an_earlier_database_becomes_what_a_new_one_is(
    own_databases: OwnDatabases, new_schema: tuple[Catalog, Catalog], earlier: str, state: State
) -> None:
    with closing(own_databases.connect(earlier)) as connection:
        state.restore(connection)
    own_databases.migrate(earlier, "tds_new")
    with closing(own_databases.connect(earlier)) as connection:
        assert differences(catalog(connection), new_schema[0]) == {}
        assert differences(settings_rows(connection), new_schema[1]) == {}


@pytest.mark.parametrize("state", _state_parameters()[:1] + _state_parameters()[-1:])
def test_a_state_differs_from_a_new_database(
    own_databases: OwnDatabases, new_schema: tuple[Catalog, Catalog], earlier: str, state: State
) -> None:
    with closing(own_databases.connect(earlier)) as connection:
        state.restore(connection)
        assert differences(catalog(connection), new_schema[0])


def _fill(connection: psycopg.Connection[Any], anchor: str = ANCHOR) -> dict[str, Any]:
    """Store readings, blocks, and an anchor that an early version of the retention left.

    Return the identities that other rows need.
    """

    def identity(statement: str, *parameters: int) -> int:
        row = connection.execute(statement, parameters).fetchone()
        assert row is not None
        return int(row[0])

    conta = identity(CONTA)
    gateway = identity(GATEWAY, conta)
    values = {
        "conta": conta,
        "gateway": gateway,
        "device": identity(DEVICE, conta, gateway),
        "border": BORDER,
    }
    for statement in (READINGS, BLOCKS, anchor):
        connection.execute(statement, values)
    connection.execute("INSERT INTO tds_new_consumo_congelado (id, ate) VALUES (1, %s)", [BORDER])
    return values


def test_repairing_keeps_figures_and_rights(
    own_databases: OwnDatabases, earlier: str, on_timescale: bool
) -> None:
    # The state with the most to repair.
    each = next(s for s in states("timescale" if on_timescale else "plain") if s.commit == "each")
    with closing(own_databases.connect(earlier)) as connection:
        each.restore(connection)
        _fill(connection)
        if on_timescale:
            connection.execute("SELECT compress_chunk(c) FROM show_chunks('tds_new_leitura_dispositivo') c")
        connection.execute("GRANT SELECT ON tds_new_consumo_mensal TO PUBLIC")
        before = connection.execute(TOTALS).fetchone()
        assert before == (200, 200, 200, sum(range(1, 201)))
    own_databases.migrate(earlier, "tds_new")
    with closing(own_databases.connect(earlier)) as connection:
        assert connection.execute(TOTALS).fetchone() == before
        assert connection.execute("SELECT final_ate, valor FROM tds_new_consumo_ancora").fetchall() == [
            (BORDER, Decimal(7))
        ]
        granted = "SELECT has_table_privilege('pg_monitor', 'tds_new_consumo_mensal', 'SELECT')"
        assert connection.execute(granted).fetchone() == (True,)


def test_a_database_that_lacks_nothing_is_left_alone(own_databases: OwnDatabases) -> None:
    name = own_databases.create()
    own_databases.migrate(name, "tds_new", "0013_repair")
    identities = """
        SELECT oid, relname FROM pg_class WHERE relname LIKE 'tds\\_new\\_%' UNION ALL
        SELECT indexrelid, NULL FROM pg_index ORDER BY 1, 2
    """
    with closing(own_databases.connect(name)) as connection:
        before = connection.execute(identities).fetchall()
    own_databases.migrate(name, "tds_new", "0012_reconstrucao")
    own_databases.migrate(name, "tds_new", "0013_repair")
    with closing(own_databases.connect(name)) as connection:
        assert connection.execute(identities).fetchall() == before


FORMER = """
INSERT INTO tds_new_ocorrencia_medicao
    (dispositivo_id, conta_id, leitura_em, valor, classe, inicio, valor_base, decidida_em)
SELECT %(device)s, %(conta)s, %(border)s::timestamptz + n * INTERVAL '15 minutes', n, classe,
    %(border)s::timestamptz, 0, %(border)s::timestamptz + decided * INTERVAL '15 minutes'
FROM (VALUES (50, 'IMPLAUSIVEL', 53), (60, 'SUSPEITA', 61), (70, 'VIRADA', 70), (200, 'SUSPEITA', NULL))
    AS found (n, classe, decided)
"""
DISCARDED = """
INSERT INTO tds_new_revisao_leitura (dispositivo_id, leitura_em, decisao)
SELECT %(device)s, %(border)s::timestamptz + 199 * INTERVAL '15 minutes', 'DESCARTADA'
"""
LATER_ANCHOR = ANCHOR.replace("(dispositivo_id", "(final_ate, aprovada, dispositivo_id").replace(
    "(%(device)s", "(%(border)s::timestamptz, true, %(device)s"
)
SECOND_EDITION = """
SELECT codigo, segunda_edicao_desde, leitura_em, estado
FROM tds_new_consumo_estado e JOIN tds_new_dispositivo d ON d.id = e.dispositivo_id
LEFT JOIN tds_new_consumo_retomada r USING (dispositivo_id) ORDER BY codigo
"""


def test_the_second_edition_begins_where_the_first_one_ended(own_databases: OwnDatabases) -> None:
    name = own_databases.create()
    own_databases.migrate(name, "tds_new", "0013_repair")
    quarter = timedelta(minutes=15)
    with closing(own_databases.connect(name)) as connection:
        values = _fill(connection, LATER_ANCHOR)
        for statement in (FORMER, DISCARDED):
            connection.execute(statement, values)
        for codigo, moment in (("LONE", BORDER + timedelta(minutes=1)), ("ON TIME", BORDER)):
            device = connection.execute(
                DEVICE.replace("'M'", f"'{codigo}'"), (values["conta"], values["gateway"])
            ).fetchone()
            assert device is not None
            connection.execute(
                READINGS.replace("n * INTERVAL '15 minutes', n", "%(after)s, 9.5").replace(", 200)", ", 1)"),
                {**values, "after": moment - BORDER, "device": device[0]},
            )
        connection.execute(FIGURES)
        connection.execute(DEVICE.replace("'M'", "'SILENT'"), (values["conta"], values["gateway"]))
    own_databases.migrate(name, "tds_new")
    with closing(own_databases.connect(name)) as connection:
        last = BORDER + 198 * quarter
        assert connection.execute(SECOND_EDITION).fetchall() == [
            ("LONE", None, None, None),
            ("M", last, last, {"line": [[int(last.timestamp()) * 10**6, 198_0000]], "jumps": []}),
            ("ON TIME", BORDER, BORDER, {"line": [[int(BORDER.timestamp()) * 10**6, 9_5000]], "jumps": []}),
        ]
        waiting = "SELECT valor, espera FROM tds_new_ocorrencia_medicao ORDER BY leitura_em"
        assert connection.execute(waiting).fetchall() == [(50, True), (60, False), (70, False), (200, True)]
        assert connection.execute("SELECT decisao FROM tds_new_consumo_ancora").fetchall() == [("APROVADA",)]
        parameters = "SELECT DISTINCT consumo_maximo_hora, tolerancia_queda FROM tds_new_dispositivo"
        assert connection.execute(parameters).fetchall() == [(None, 0)]
