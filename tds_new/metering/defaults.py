"""Gives devices that have no limits those that a new device gets.

A device registered before the second edition may have none. Where a person has said since then that there is
none, it stays so: the audit trail knows.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from psycopg import Cursor

from tds_new.metering.rules.meter import Meter, Parameters
from tds_new.metering.times import us_of

EDITION = "0014_segunda_edicao"  # the migration that brought defaults at registration
SIGNATURE = "apply_metering_defaults"
REASON = "limites padrão para quem não os tinha"
SIGN = "SELECT set_config('tds.usuario', %s, true), set_config('tds.motivo', %s, true)"


def _said(table: str, own: str, column: str, said: str) -> str:
    """Return the SQL for whether a person has said that an entry has no limit.

    Only what was said since the upgrade counts. ``table`` of the entry, ``own``: SQL for whether a line of
    the trail is about this entry; ``column`` of the limit and ``said``: SQL for whether a value of it, as
    text, says so.
    """
    before, after = f"(line.antes ->> '{column}')", f"(line.depois ->> '{column}')"
    return f"""EXISTS (SELECT FROM tds_new_auditoria_medicao line
        WHERE line.dispositivo_id = d.id AND line.tabela = '{table}' AND {own}
            AND line.usuario <> '{SIGNATURE}' AND line.em >= (
                SELECT applied FROM django_migrations WHERE app = 'tds_new' AND name = '{EDITION}')
            AND line.depois ? '{column}' AND {said.format(after)}
            AND (line.acao = 'INSERT' OR NOT {said.format(before)}))"""


def _lacking(table: str, entry: str, own: str) -> tuple[str, str]:
    """Return the SQL for whether an entry lacks the maximum, and the tolerance."""
    none, zero = "({0} IS NULL)", "(coalesce({0}::numeric, 0) = 0)"
    maximum = _said(table, own, "consumo_maximo_hora", none)
    tolerance = _said(table, own, "tolerancia_queda", zero)
    return (
        f"{entry}.consumo_maximo_hora IS NULL AND p.consumo_maximo_hora IS NOT NULL AND NOT {maximum}",
        f"{entry}.tolerancia_queda = 0 AND p.tolerancia_queda > 0 AND NOT {tolerance}",
    )


_DEVICE = _lacking("tds_new_dispositivo", "d", "true")
_DATED = _lacking("tds_new_vigencia_parametros", "v", "(line.depois ->> 'id')::bigint = v.id")
# A row for each entry that lacks something: the device's own (no ``desde``), and its dated changes.
FIND = f"""
SELECT id, entry, desde, CASE WHEN lacks_maximum THEN maximum END,
    CASE WHEN lacks_tolerance THEN tolerance END
FROM (
    SELECT d.id, NULL::bigint AS entry, NULL::bigint AS desde, {_DEVICE[0]} AS lacks_maximum,
        {_DEVICE[1]} AS lacks_tolerance, p.consumo_maximo_hora AS maximum, p.tolerancia_queda AS tolerance
    FROM tds_new_dispositivo d, tds_new_padroes(d.grandeza, d.unidade, d.unidade_consumo, d.fator_conversao) p
    WHERE d.id = ANY(%(devices)s)
    UNION ALL
    SELECT d.id, v.id, {us_of("v.desde")}, {_DATED[0]}, {_DATED[1]}, p.consumo_maximo_hora, p.tolerancia_queda
    FROM tds_new_dispositivo d JOIN tds_new_vigencia_parametros v ON v.dispositivo_id = d.id,
        tds_new_padroes(d.grandeza, d.unidade, d.unidade_consumo, v.fator_conversao) p
    WHERE d.id = ANY(%(devices)s)
) entries WHERE lacks_maximum OR lacks_tolerance ORDER BY id, desde NULLS FIRST
"""
LOCK = "SELECT FROM tds_new_dispositivo WHERE id = %s FOR NO KEY UPDATE"
GIVE = """
UPDATE {table} SET consumo_maximo_hora = coalesce(%s, consumo_maximo_hora),
    tolerancia_queda = coalesce(%s, tolerancia_queda) WHERE id = %s
"""
GIVE_DEVICE = GIVE.format(table="tds_new_dispositivo")
GIVE_DATED = GIVE.format(table="tds_new_vigencia_parametros")


@dataclass(frozen=True, slots=True)
class Missing:
    """The limits that an entry lacks, in the register's unit; None: it has this one.

    ``entry`` is the dated change's id, and ``since`` the time in microseconds from which it is in force; both
    are None for the device's own parameters.
    """

    entry: int | None
    since: int | None
    hourly_maximum: Decimal | None
    dip_tolerance: Decimal | None


def find(cursor: Cursor[Any], devices: Collection[int]) -> dict[int, list[Missing]]:
    """Return what each of these devices lacks; those that lack nothing are left out."""
    missing: dict[int, list[Missing]] = {}
    for device, *entry in cursor.execute(FIND, {"devices": list(devices)}):
        missing.setdefault(device, []).append(Missing(*entry))
    return missing


def with_defaults(meter: Meter, missing: Collection[Missing]) -> Meter:
    """Return a meter with the limits that it lacked."""
    by_time = {m.since: m for m in missing}
    return replace(
        meter,
        base=_completed(meter.base, by_time.get(None)),
        dated=[(since, _completed(parameters, by_time.get(since))) for since, parameters in meter.dated],
    )


def _completed(parameters: Parameters, missing: Missing | None) -> Parameters:
    if missing is None:
        return parameters
    maximum, tolerance = missing.hourly_maximum, missing.dip_tolerance
    return replace(
        parameters,
        hourly_maximum=parameters.hourly_maximum if maximum is None else int(maximum.scaleb(4)),
        dip_tolerance=parameters.dip_tolerance if tolerance is None else int(tolerance.scaleb(4)),
    )


def apply(cursor: Cursor[Any], device: int) -> bool:
    """Give a device what it lacks now; return whether that is anything.

    In the caller's transaction. The database queues what changes, and writes the audit trail.
    """
    cursor.execute(SIGN, [SIGNATURE, REASON])
    cursor.execute(LOCK, [device])
    missing = find(cursor, [device]).get(device, [])
    for m in missing:
        limits = [m.hourly_maximum, m.dip_tolerance]
        cursor.execute(GIVE_DEVICE if m.entry is None else GIVE_DATED, [*limits, m.entry or device])
    return bool(missing)
