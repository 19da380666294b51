"""The sums of Contas by the structure of their devices, frozen.

``_sums`` has them as they were before: by quantity and unit alone. Live code makes them from
``tds_new.storage.rollups``.
"""

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from tds_new.migrations import _sums

NAMES = (_sums.CONTA_HOURS, _sums.CONTA_DAYS)
SELECTS = {
    _sums.CONTA_HOURS: """
SELECT {hour_of_conta_block} AS hora, b.conta_id, d.grandeza, d.papel, d.atras,
    coalesce(nullif(d.unidade_consumo, ''), d.unidade) AS unidade,
    sum(b.consumo) AS consumo,
    count(*) AS blocos,
    sum(b.fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE b.qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE b.qualidade = 'ESTIMADO') AS blocos_estimados,
    max(b.consumo) FILTER (WHERE b.fracao_medida = 1 AND b.qualidade = 'MEDIDO') AS pico
FROM tds_new_consumo_15min b JOIN tds_new_dispositivo d ON d.id = b.dispositivo_id
WHERE b.consumo IS NOT NULL
GROUP BY 1, 2, 3, 4, 5, 6""",
    _sums.CONTA_DAYS: """
SELECT {day_of_hour} AS dia, conta_id, grandeza, papel, atras, unidade,
    sum(consumo) AS consumo,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico
FROM tds_new_consumo_conta_horario
GROUP BY 1, 2, 3, 4, 5, 6""",
}
KEYS = {
    _sums.CONTA_HOURS: "conta_id, hora DESC, grandeza, papel, atras, unidade",
    _sums.CONTA_DAYS: "conta_id, dia DESC, grandeza, papel, atras, unidade",
}


def create_sums(connection: BaseDatabaseWrapper, *, timescale: bool) -> None:
    """Create them, empty.

    On TimescaleDB they get their unique indexes and refresh policies.
    """
    zone = str(settings.TDS_TIME_ZONE).replace("'", "''")
    parts = _sums.TIMESCALE if timescale else _sums.PLAIN
    texts = {part: text.format(zone=zone) for part, text in parts.items()}
    with connection.cursor() as cursor:
        for name in NAMES:
            select = SELECTS[name].format(**texts)
            if not timescale:
                cursor.execute(f"CREATE VIEW {name} AS {select}")
                continue
            cursor.execute(_sums.AGGREGATE.format(name=name, select=select))
            cursor.execute(_sums.MATERIALIZED_IN, [name])
            (table,) = cursor.fetchone() or ("",)
            cursor.execute(f"CREATE UNIQUE INDEX {name}_chave ON {table} ({KEYS[name]})")
            cursor.execute(_sums.KNOWS_BATCHES)
            one_batch = _sums.ONE_BATCH if cursor.fetchone() else ""
            times = _sums.HOURLY if name == _sums.CONTA_HOURS else _sums.OTHERS
            cursor.execute(_sums.POLICY.format(name=name, one_batch=one_batch, **times))
