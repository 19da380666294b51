"""Change the structure of a Conta's meters, and ask until the answer is right.

Runs as a process of its own: ``python -m lab.benchmarks.structure_process`` with a JSON job as its argument.
It prints a JSON result to standard output.
"""

import json
import os
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prj_tds_new.settings")
django.setup()

from django.db import connection  # noqa: E402 - needs what is set up

from tds_new.models import Conta, Dispositivo  # noqa: E402
from tds_new.queries.local_calendar import Period  # noqa: E402
from tds_new.queries.structure import structure_is_pending  # noqa: E402
from tds_new.queries.sums import in_total_unit, sum_periods  # noqa: E402
from tds_new.units import total_unit  # noqa: E402

INTERVAL_S = 0.2
Totals = dict[tuple[str, str, str], Decimal]

# The totals from the blocks themselves.
RIGHT = """
SELECT d.grandeza, coalesce(nullif(d.unidade_consumo, ''), d.unidade), d.papel, sum(b.consumo)
FROM tds_new_consumo_15min b JOIN tds_new_dispositivo d ON d.id = b.dispositivo_id
WHERE b.conta_id = %(conta)s AND b.bloco >= %(start)s AND b.bloco < %(end)s AND b.consumo IS NOT NULL
    AND d.papel <> 'INFORMATIVO' AND NOT d.atras
GROUP BY 1, 2, 3
"""


@dataclass(frozen=True)
class StructureJob:
    """What to change, and which stretch to ask about (ISO 8601).

    ``kind`` is "papel" (every second meter of a quantity feeds in) or "medidor_pai" (all meters of a quantity
    are behind the first).
    """

    conta: int
    kind: str
    start: str
    end: str
    timeout: float


@dataclass(frozen=True)
class Changed:
    """What became of a change; times in seconds from its commit.

    ``devices`` were changed in ``change`` seconds. The dashboard was right after ``right``, and the sums made
    again after ``summed``; ``wrong`` of its ``asked`` answers were wrong after the first right one. The
    slowest answer took ``while_pending`` milliseconds meanwhile, and ``later`` then.
    """

    devices: int
    change: float
    right: float
    summed: float
    asked: int
    wrong: int
    while_pending: float
    later: float


def _change(job: StructureJob) -> int:
    """Change the structure in one transaction per quantity; return how many devices."""
    devices = Dispositivo.objects.filter(conta=job.conta).exclude(tipo_leitura="INSTANTANEA")
    by_quantity: dict[str, list[int]] = defaultdict(list)
    for quantity, pk in devices.order_by("pk").values_list("grandeza", "pk"):
        by_quantity[quantity].append(pk)
    changed = 0
    for keys in by_quantity.values():
        if job.kind == "papel":
            changed += Dispositivo.objects.filter(pk__in=keys[1::2]).update(papel="INJECAO")
        else:
            changed += Dispositivo.objects.filter(pk__in=keys[1:]).update(medidor_pai=keys[0])
    return changed


def _right(job: StructureJob) -> Totals:
    totals: Totals = defaultdict(Decimal)
    with connection.cursor() as cursor:
        cursor.execute("SET jit = off")
        cursor.execute(RIGHT, asdict(job))
        for quantity, unit, role, amount in cursor.fetchall():
            totals[quantity, total_unit(unit), role] += in_total_unit(amount, unit)
    return dict(totals)


def _asked(conta: Conta, period: Period) -> tuple[Totals, float]:
    """Ask the dashboard's question.

    Return its answer, and the milliseconds that it took.
    """
    began = time.perf_counter()
    sums = sum_periods(conta, None, [period], period.end)
    answer = {tuple(one.measure): one.periods[0].total for one in sums if one.periods[0].total}
    return answer, 1000 * (time.perf_counter() - began)  # type: ignore[return-value]


def run(job: StructureJob) -> Changed:
    """Change, and ask until the sums are made again.

    Raises TimeoutError if they are not.
    """
    conta = Conta.objects.get(pk=job.conta)
    period = Period(datetime.fromisoformat(job.start), datetime.fromisoformat(job.end))
    _asked(conta, period)
    began = time.monotonic()
    devices = _change(job)
    committed = time.monotonic()
    answers: list[tuple[float, Totals, float, bool]] = []
    while not answers or answers[-1][3]:
        if time.monotonic() - committed > job.timeout:
            raise TimeoutError(f"not summed again after {job.timeout:.0f} s")
        pending = structure_is_pending(conta.pk)
        answer, took = _asked(conta, period)
        answers.append((time.monotonic() - committed, answer, took, pending))
        time.sleep(INTERVAL_S)
    later = [_asked(conta, period) for _ in range(5)]
    right = _right(job)
    good = [number for number, (_, answer, _, _) in enumerate(answers) if answer == right]
    if not good or any(answer != right for answer, _ in later):
        raise RuntimeError("the totals are wrong")
    return Changed(
        devices,
        committed - began,
        right=answers[good[0]][0],
        summed=answers[-1][0],
        asked=len(answers),
        wrong=len(answers) - good[0] - len(good),
        while_pending=max(took for _, _, took, pending in answers if pending or len(answers) == 1),
        later=max(took for _, took in later),
    )


def main() -> None:
    """Read the job, run it, print what became of it."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    assert datetime.fromisoformat(job["end"]) <= datetime.now(UTC)
    json.dump(asdict(run(StructureJob(**job))), sys.stdout)


if __name__ == "__main__":
    main()
