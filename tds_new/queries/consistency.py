"""The consistency of what arrived, for operators.

It is asked over all Contas, so it is never for a tenant's page.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

# Orphans are readings whose device, gateway or Conta is gone, or whose device hangs under another gateway.
# The references carry no foreign keys, so this check would find such a loss.
_PER_GATEWAY = """
WITH arrived AS (
    SELECT reading.gateway_id, count(*) AS total, max(reading.time) AS latest,
        array_agg(DISTINCT reading.conta_id) AS contas,
        count(*) FILTER (
            WHERE device.id IS NULL OR conta.id IS NULL OR device.gateway_id <> reading.gateway_id
        ) AS orphans
    FROM tds_new_leitura_dispositivo reading
    LEFT JOIN tds_new_dispositivo device ON device.id = reading.dispositivo_id
    LEFT JOIN tds_new_conta conta ON conta.id = reading.conta_id
    GROUP BY reading.gateway_id
), rejected AS (
    SELECT gateway_id, sum(total)::bigint AS total FROM tds_new_rejeicao_contador GROUP BY gateway_id
)
SELECT gateway.codigo, gateway.mac, gateway.last_seen, arrived.latest,
    coalesce(arrived.total, 0), coalesce(rejected.total, 0),
    CASE WHEN gateway.id IS NULL THEN coalesce(arrived.total, 0) ELSE coalesce(arrived.orphans, 0) END,
    coalesce(cardinality(arrived.contas), 0),
    (SELECT count(*) FROM tds_new_dispositivo device
     WHERE device.gateway_id = gateway.id AND device.conta_id <> gateway.conta_id)
FROM tds_new_gateway gateway
FULL JOIN arrived ON arrived.gateway_id = gateway.id
FULL JOIN rejected ON rejected.gateway_id = coalesce(gateway.id, arrived.gateway_id)
ORDER BY gateway.codigo NULLS LAST, gateway.mac
"""

# A device whose computation failed is deferred (tentar_em), so it is no sign that the worker is behind.
_CONSUMPTION = """
SELECT
    coalesce(
        extract(epoch FROM clock_timestamp() - min(criado_em) FILTER (WHERE tentar_em IS NULL)), 0
    )::float8,
    coalesce(array_agg(DISTINCT dispositivos[1]) FILTER (WHERE tentar_em IS NOT NULL), '{}'),
    max(erro) FILTER (WHERE tentar_em IS NOT NULL),
    (SELECT count(*) FROM tds_new_consumo_estado WHERE reconstruir_desde IS NOT NULL),
    (SELECT nullif(min(reconstruir_desde), '-infinity') FROM tds_new_consumo_estado)
FROM tds_new_consumo_pendente
"""


@dataclass(frozen=True, slots=True)
class GatewayCheck:
    """The readings and rejections of one gateway.

    ``codigo`` and ``mac`` are None for what belongs to no registered gateway. ``contas`` counts the Contas
    that its readings belong to (more than one after a transfer), ``misplaced`` its devices whose Conta is not
    the gateway's.
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
        """Return whether there is neither an orphan nor a misplaced device."""
        return not self.orphans and not self.misplaced


def check_gateways() -> list[GatewayCheck]:
    """Return a check per gateway, by code; readings without a gateway come last."""
    with connection.cursor() as cursor:
        cursor.execute(_PER_GATEWAY)
        return [GatewayCheck(*row) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class ConsumptionCheck:
    """The worker's delay, and the devices that it does not compute.

    ``waiting_s``: for how many seconds the oldest reading has waited for its block, 0 if none waits.
    ``failed``: the ids of devices that cannot be computed; ``error``: the error of one of them.
    ``to_rebuild`` devices have something that only ``rebuild_consumption`` computes, from ``rebuild_since``
    on (None: from the beginning of one, or there are none).
    """

    waiting_s: float
    failed: list[int]
    error: str | None
    to_rebuild: int
    rebuild_since: datetime | None

    @property
    def failure(self) -> str:
        """Return in words which devices cannot be computed; empty if there are none."""
        if not self.failed:
            return ""
        return (
            f"consumption of devices {', '.join(map(str, self.failed))} (id) cannot be computed: {self.error}"
        )


def check_consumption() -> ConsumptionCheck:
    """Return how far the worker is behind, and what it cannot compute."""
    with connection.cursor() as cursor:
        cursor.execute(_CONSUMPTION)
        return ConsumptionCheck(*cursor.fetchone())
