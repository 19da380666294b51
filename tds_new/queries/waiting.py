"""How many readings wait: for somebody, or only for the readings that follow."""

from typing import NamedTuple

from django.db import connection

# As the view tds_new_leitura_em_revisao tells them apart, but found by the index of what waits.
WAITING_READINGS = """(
    SELECT o.conta_id, o.dispositivo_id, o.classe = 'SUSPEITA' AND o.decidida_em IS NULL
        AND o.leitura_em > now() - 3 * g.intervalo_esperado_s * INTERVAL '1 second' AS fresh
    FROM tds_new_ocorrencia_medicao o
    JOIN tds_new_dispositivo d ON d.id = o.dispositivo_id
    JOIN tds_new_gateway g ON g.id = d.gateway_id
    LEFT JOIN tds_new_revisao_leitura r ON r.dispositivo_id = o.dispositivo_id AND r.leitura_em = o.leitura_em
    WHERE o.espera AND (r.id IS NULL OR r.decisao = '' AND r.valor_corrigido = o.valor)
) waiting"""
WAITING = f"""
SELECT count(*) FILTER (WHERE NOT fresh), count(*) FILTER (WHERE fresh) FROM {WAITING_READINGS}
"""


class Waiting(NamedTuple):
    """How many readings wait for somebody, and how many for other readings."""

    for_people: int
    for_readings: int


def waiting_readings() -> Waiting:
    """Return how many readings wait, of all Contas."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING)
        return Waiting(*cursor.fetchone())
