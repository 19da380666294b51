"""Whether what arrived is consistent: per gateway, over all Contas. For the operator's command, never for a tenant's page."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

# Orphans: readings whose device, gateway or Conta is gone, or whose device hangs under another gateway. The references carry no
# foreign keys, so this is where a loss would show.
_PER_GATEWAY = """
WITH leituras AS (
    SELECT l.gateway_id, count(*) AS total, max(l.time) AS ultima, array_agg(DISTINCT l.conta_id) AS contas,
        count(*) FILTER (WHERE d.id IS NULL OR c.id IS NULL OR d.gateway_id <> l.gateway_id) AS orfas
    FROM tds_new_leitura_dispositivo l
    LEFT JOIN tds_new_dispositivo d ON d.id = l.dispositivo_id
    LEFT JOIN tds_new_conta c ON c.id = l.conta_id
    GROUP BY l.gateway_id
), rejeitadas AS (
    SELECT gateway_id, sum(total)::bigint AS total FROM tds_new_rejeicao_contador GROUP BY gateway_id
)
SELECT g.codigo, g.mac, g.last_seen, l.ultima, coalesce(l.total, 0), coalesce(r.total, 0),
    CASE WHEN g.id IS NULL THEN coalesce(l.total, 0) ELSE coalesce(l.orfas, 0) END,
    coalesce(cardinality(l.contas), 0),
    (SELECT count(*) FROM tds_new_dispositivo d WHERE d.gateway_id = g.id AND d.conta_id <> g.conta_id)
FROM tds_new_gateway g
FULL JOIN leituras l ON l.gateway_id = g.id
FULL JOIN rejeitadas r ON r.gateway_id = coalesce(g.id, l.gateway_id)
ORDER BY g.codigo NULLS LAST, g.mac
"""

# Whose computation failed is held back (tentar_em), so it is no sign that the worker is behind.
_CONSUMPTION = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(criado_em) FILTER (WHERE tentar_em IS NULL)), 0)::float8,
    coalesce(array_agg(DISTINCT dispositivos[1]) FILTER (WHERE tentar_em IS NOT NULL), '{}'),
    max(erro) FILTER (WHERE tentar_em IS NOT NULL)
FROM tds_new_consumo_pendente
"""


@dataclass(frozen=True, slots=True)
class GatewayCheck:
    """What arrived from one gateway; ``codigo`` and ``mac`` are None for what belongs to no registered gateway.

    ``contas`` counts the Contas that its readings belong to (more than one after a transfer). ``misplaced`` counts devices whose
    Conta is not their gateway's.
    """

    codigo: str | None
    mac: str | None
    last_seen: datetime | None
    last_reading: datetime | None
    readings: int
    rejected: int
    orphans: int
    contas: int
    misplaced: int

    @property
    def consistent(self) -> bool:
        """No orphan, no misplaced device."""
        return not self.orphans and not self.misplaced


def check_gateways() -> list[GatewayCheck]:
    """What arrived per gateway, by code; what belongs to none comes last."""
    with connection.cursor() as cursor:
        cursor.execute(_PER_GATEWAY)
        return [GatewayCheck(*row) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class ConsumptionCheck:
    """For how many seconds the oldest reading waits for its block (0: none waits), and devices that cannot be computed, with an error."""

    waiting_s: float
    failed: list[int]
    error: str | None

    @property
    def failure(self) -> str:
        """In words, which devices (by id) cannot be computed; empty where there are none."""
        if not self.failed:
            return ""
        return (
            f"consumption of devices {', '.join(map(str, self.failed))} (id) cannot be computed: {self.error}"
        )


def check_consumption() -> ConsumptionCheck:
    """How far the worker follows."""
    with connection.cursor() as cursor:
        cursor.execute(_CONSUMPTION)
        return ConsumptionCheck(*cursor.fetchone())
