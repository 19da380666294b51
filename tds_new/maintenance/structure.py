"""Sums Contas again whose devices have changed their structure.

A Conta's sums are by its devices' quantity, role, unit and place behind other meters, as they were when the
sums were made. A change writes no block: a trigger notes the Conta in ``tds_new_consumo_conta_pendente``, and
queries answer it from its devices' sums meanwhile. Here its sums are made again, a month at a time, the
newest first. TimescaleDB makes whole buckets again, so Contas that are noted together are summed together.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from psycopg import Connection

from tds_new.maintenance import policies
from tds_new.storage.rollups import CONTA_DAILY, CONTA_HOURLY

NAME = f"structure {CONTA_HOURLY.name}"
EVERY = timedelta(hours=1)  # while there is something to do; a month of many devices may take minutes
MONTH = timedelta(days=31)
# Days that a stretch of hours has a part in begin or end at most so far from it, in whatever zone.
BEYOND = timedelta(days=2)

# Versions of TimescaleDB that cannot be told to sum again leave their Contas noted: those are answered from
# their devices' sums.
IS_DUE = """
SELECT EXISTS (SELECT FROM tds_new_consumo_conta_pendente) AND NOT EXISTS (
    SELECT FROM pg_proc
    WHERE proname = 'refresh_continuous_aggregate' AND NOT 'force' = ANY(proargnames))
"""
PENDING = """
SELECT p.conta_id, p.alterada_em, p.somada_desde, min(v.primeiro)
FROM tds_new_consumo_conta_pendente p LEFT JOIN tds_new_consumo_vida v ON v.conta_id = p.conta_id
GROUP BY p.conta_id
"""
NOTHING_STORED = "DELETE FROM tds_new_consumo_conta_pendente"
SUM_AGAIN = "CALL refresh_continuous_aggregate(%s, %s::timestamptz, %s::timestamptz, force => true)"
# A Conta that has changed again since it was read stays as it is: it is to be summed from the newest on.
UNCHANGED = """
unnest(%s::bigint[], %s::timestamptz[]) AS done (conta, changed)
WHERE p.conta_id = done.conta AND p.alterada_em = done.changed
"""
ADVANCE = f"UPDATE tds_new_consumo_conta_pendente p SET somada_desde = %s FROM {UNCHANGED}"
FINISH = f"DELETE FROM tds_new_consumo_conta_pendente p USING {UNCHANGED}"


class Pending(NamedTuple):
    """A Conta to be summed again.

    Its structure ``changed`` last then. Its sums are right from ``done`` on (None: nowhere). Its first block
    with consumption begins at ``first`` (None: there is none).
    """

    conta_id: int
    changed: datetime
    done: datetime | None
    first: datetime | None


def is_due(connection: Connection[Any]) -> bool:
    """Return whether there is a Conta to be summed again."""
    return bool((connection.execute(IS_DUE).fetchone() or (False,))[0])


def sum_next(connection: Connection[Any]) -> None:
    """Sum the newest month again that a Conta lacks.

    The connection must be in autocommit mode. Raises psycopg.Error.
    """
    if not policies.is_timescale(connection):
        connection.execute(NOTHING_STORED)
        return
    hours, days = (policies.materialised(connection, rollup) for rollup in (CONTA_HOURLY, CONTA_DAILY))
    pending = [Pending(*row) for row in connection.execute(PENDING)]
    if hours is None or days is None:  # they are being made
        return
    # What others may be summing just now, by the structure of before, is summed again too.
    newest = max(hours.until, hours.policy_end)
    end = max((row.done or newest for row in pending), default=newest)
    start = end - MONTH
    policies.call(connection, SUM_AGAIN, [CONTA_HOURLY.name, start, end])
    until = min(max(days.until, days.policy_end), end + BEYOND)
    if start - BEYOND < until:
        policies.call(connection, SUM_AGAIN, [CONTA_DAILY.name, start - BEYOND, until])
    reached = [row for row in pending if (row.done or newest) > start]
    finished = [row for row in reached if row.first is None or row.first >= start]
    connection.execute(ADVANCE, [start, *_columns(reached)])
    connection.execute(FINISH, _columns(finished))


def _columns(rows: list[Pending]) -> tuple[list[int], list[datetime]]:
    return [row.conta_id for row in rows], [row.changed for row in rows]
