"""Readings that are stored already keep their payload_raw as it is."""

from contextlib import closing

from psycopg.types.json import Jsonb

from tests.migrations.conftest import OwnDatabases

OWNERS = """
WITH conta AS (INSERT INTO tds_new_conta (name) VALUES ('A') RETURNING id),
gateway AS (
    INSERT INTO tds_new_gateway (conta_id, codigo, mac) SELECT id, 'G', 'aa:bb:cc:dd:ee:ff' FROM conta
    RETURNING id, conta_id)
INSERT INTO tds_new_dispositivo (conta_id, gateway_id, codigo) SELECT conta_id, id, 'M' FROM gateway
"""
READING = """
INSERT INTO tds_new_leitura_dispositivo
    (time, valor, unidade, tipo_leitura, conta_id, gateway_id, dispositivo_id, payload_raw)
SELECT now() - n * INTERVAL '15 minutes', 1, 'kWh', 'ACUMULADA', conta_id, gateway_id, id, %s
FROM tds_new_dispositivo, generate_series(1, 250) n
"""
STORED = "SELECT xmin::text, payload_raw FROM tds_new_leitura_dispositivo ORDER BY time"


def test_old_rows_stay_as_they_are(own_databases: OwnDatabases) -> None:
    name = own_databases.create()
    own_databases.migrate(name, "tds_new", "0015_consumo_fechado")
    payload = {"log": "x" * 40_000, "leituras": [{"dispositivo_codigo": "M", "valor": 1}]}
    with closing(own_databases.connect(name)) as connection:
        connection.execute(OWNERS)
        connection.execute(READING, [Jsonb(payload)])
        before = connection.execute(STORED).fetchall()
    own_databases.migrate(name, "tds_new")
    with closing(own_databases.connect(name)) as connection:
        assert connection.execute(STORED).fetchall() == before
        assert [kept for _, kept in before] == [payload] * 250
        assert connection.execute("SELECT count(*) FROM tds_new_mensagem_resto").fetchone() == (0,)
