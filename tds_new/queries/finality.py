"""Which figures are settled, which are provisional, what waits for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from tds_new.models import Conta, Dispositivo
from tds_new.queries.sums import COUNTED, ONLY_DEVICES, UNIT_OF_BLOCKS, Measure, counted
from tds_new.queries.waiting import WAITING_READINGS
from tds_new.units import total_unit

# A meter that was switched off has nothing to settle any more.
FINALITY = f"""
SELECT grandeza, {UNIT_OF_BLOCKS}, papel, min(state.assentado_ate), min(state.provisorio_desde), NULL
FROM tds_new_dispositivo device
JOIN tds_new_gateway gateway ON gateway.id = device.gateway_id
JOIN tds_new_consumo_estado state ON state.dispositivo_id = device.id
WHERE device.conta_id = %(conta)s AND device.status <> 'INATIVO' AND gateway.is_active
  AND {{counted}}{{only}}
GROUP BY 1, 2, 3
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, count(*) FROM {WAITING_READINGS}
WHERE conta_id = %(conta)s AND NOT fresh{{only}}
"""


@dataclass(frozen=True, slots=True)
class MeasureFinality:
    """How final the figures of a measure are.

    Before ``settled_until`` no later reading changes a figure, but for a late one. From ``provisional_since``
    on figures may be taken back by the next readings. Each is None if there is no such moment. They are those
    of the meter that is furthest behind.
    """

    measure: Measure
    settled_until: datetime | None
    provisional_since: datetime | None


@dataclass(frozen=True, slots=True)
class Finality:
    """How final each measure's figures are; how many readings wait for a person."""

    measures: dict[Measure, MeasureFinality]
    waiting: int


def finality(conta: Conta, devices: Sequence[Dispositivo] | None) -> Finality:
    """Return how final the totals of ``conta`` are, or those of ``devices``.

    It takes one statement. Readings that wait are those of all devices of the Conta, or of all chosen ones.
    Those whose next readings may still decide them are not among them, as in the list for review
    (``tds_new_leitura_em_revisao``).
    """
    parameters: dict[str, Any] = {"conta": conta.pk}
    only, of_those = "", COUNTED
    if devices is not None:
        parameters |= {"devices": [d.pk for d in devices], "counted": [d.pk for d in counted(devices)]}
        only, of_those = ONLY_DEVICES, "device.id = ANY(%(counted)s)"
    statement = FINALITY.format(only=only, counted=of_those)
    found: dict[Measure, MeasureFinality] = {}
    waiting = 0
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        for grandeza, unidade, papel, settled_until, provisional_since, count in cursor.fetchall():
            if grandeza is None:
                waiting = count
                continue
            measure = Measure(grandeza, total_unit(unidade), papel)
            one = MeasureFinality(measure, settled_until, provisional_since)
            found[measure] = _both(found.get(measure, one), one)
    return Finality(found, waiting)


def _both(one: MeasureFinality, other: MeasureFinality) -> MeasureFinality:
    """Return the finality of the meters of both; they have units of one group."""

    def earliest(*moments: datetime | None) -> datetime | None:
        return min((m for m in moments if m), default=None)

    return MeasureFinality(
        one.measure,
        earliest(one.settled_until, other.settled_until),
        earliest(one.provisional_since, other.provisional_since),
    )
