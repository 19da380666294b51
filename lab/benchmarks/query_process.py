"""Ask the dashboard's questions many times, and measure each.

Runs as a process of its own: ``python -m lab.benchmarks.query_process`` with a JSON job as its argument. It
prints a JSON result to standard output, and how far it is to standard error.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prj_tds_new.settings")
django.setup()

from django.db import OperationalError, connection  # noqa: E402 - needs what is set up

from lab.benchmarks.figures import RAW_TIMEOUT_MS, Percentiles  # noqa: E402
from prj_tds_new import collector  # noqa: E402
from tds_new.models import Conta, Dispositivo  # noqa: E402
from tds_new.queries import consumption, demand, fleet, latest, series  # noqa: E402
from tds_new.queries.local_calendar import DAY, add_months, local_month, midnight, months_until  # noqa: E402
from tds_new.queries.window import Window  # noqa: E402
from tds_new.web.dashboard.scope import MAX_CHARTS, SERIES_UNFILTERED, chart_unit  # noqa: E402

RAW_ENOUGH_S = 30.0  # a question that took so long altogether is not asked of raw readings again
REPETITIONS = 3
# Half of the questions go by the platform's own calendar; the others' days and months begin an hour before or
# after its.
ZONES = ("America/Sao_Paulo", "America/Sao_Paulo", "America/Manaus", "America/Noronha")

# The same figures from the readings themselves, as far as a sum of differences gives them.
RAW = """
SELECT dispositivo_id, {bucket} AS bucket, count(*), min(valor), max(valor),
    sum(CASE tipo_leitura
        WHEN 'ACUMULADA' THEN greatest(valor - previous, 0) WHEN 'INCREMENTAL' THEN valor
    END)
FROM (
    SELECT dispositivo_id, time, tipo_leitura, valor,
        lag(valor) OVER (PARTITION BY dispositivo_id ORDER BY time) AS previous
    FROM tds_new_leitura_dispositivo
    WHERE conta_id = %(conta)s AND dispositivo_id = ANY(%(devices)s) AND time >= %(start)s AND time < %(end)s
) reading GROUP BY 1, 2
"""
RAW_BUCKETS = {"step": "date_bin(%(step)s, time, %(start)s)"} | {
    u: f"date_trunc('{u}', time, %(zone)s)" for u in ("day", "month")
}
RAW_PEAK = f"""
SELECT DISTINCT ON (dispositivo_id) * FROM ({RAW.format(bucket=RAW_BUCKETS["step"])}) bucket
ORDER BY dispositivo_id, sum DESC
"""
RAW_LATEST = """
SELECT * FROM tds_new_leitura_dispositivo
WHERE conta_id = %(conta)s AND time >= %(start)s AND time < %(end)s ORDER BY time DESC LIMIT 10
"""


@dataclass(frozen=True)
class QueryJob:
    """The questions to ask.

    Each question is asked of ``samples`` cases, and of raw readings of the first ``raw`` of them.

    ``start`` and ``now`` are the bounds of the data (ISO 8601); ``seed`` chooses the cases.
    """

    samples: int
    raw: int
    start: str
    now: str
    seed: int


@dataclass(frozen=True)
class QuestionTimes:
    """A question's times in milliseconds.

    ``first`` is when each case was new, ``busy`` the processor time meanwhile, this process's and its
    database session's; ``again`` is the best of three more times; ``raw`` the median of raw readings: None
    where they were not asked, the time limit where that was too short. ``statements`` is how many the
    question takes.
    """

    name: str
    limit: float
    first: Percentiles
    busy: Percentiles
    again: Percentiles
    raw: float | None
    statements: float


@dataclass
class Case:
    """The subject of a question.

    A Conta and its devices, one of them, and a month within the data.
    """

    conta: Conta
    devices: list[Dispositivo]
    now: datetime
    month: date
    one: Dispositivo
    drawn: list[Dispositivo] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Choose what the dashboard draws without a selection.

        These are the first four devices of each unit.
        """
        by_unit: dict[str, list[Dispositivo]] = {}
        for device in sorted(self.devices, key=lambda d: list(Dispositivo.Grandeza.values).index(d.grandeza)):
            by_unit.setdefault(chart_unit(device), []).append(device)
        self.drawn = [
            device for group in list(by_unit.values())[:MAX_CHARTS] for device in group[:SERIES_UNFILTERED]
        ]

    def last(self, days: int) -> Window:
        """Return the window of the last days."""
        return Window.last(days * DAY, self.now, self.conta.zone)

    @property
    def whole_month(self) -> Window:
        """The window of the month."""
        return Window.between(self.month, add_months(self.month, 1) - DAY, self.conta.zone)

    def raw(
        self, sql: str, devices: list[Dispositivo], window: Window, step: timedelta | None = None
    ) -> None:
        """Ask a question of raw readings.

        A bucket is ``step`` long, or as long as the window's steps.
        """
        parameters: dict[str, Any] = {
            "conta": self.conta.pk,
            "devices": [d.pk for d in devices],
            "start": window.start,
            "end": window.end,
            "step": step or window.step,
            "zone": self.conta.zone.key,
        }
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            cursor.fetchall()


class Question(NamedTuple):
    """Something that the dashboard asks, and the same asked of raw readings.

    ``limit`` is the milliseconds that it may take (p95).
    """

    ask: Callable[[Case], object]
    limit: float
    raw: Callable[[Case], None] | None = None


def _line(
    devices: Callable[[Case], list[Dispositivo]], window: Callable[[Case], Window], limit: float = 50
) -> Question:
    def raw(case: Case) -> None:
        asked = window(case)
        case.raw(RAW.format(bucket=RAW_BUCKETS["day" if asked.daily else "step"]), devices(case), asked)

    return Question(lambda c: series.series(c.conta, devices(c), window(c), c.now), limit, raw)


def _days(devices: Callable[[Case], list[Dispositivo] | None], limit: float = 50) -> Question:
    def ask(case: Case) -> object:
        return consumption.daily_consumption(
            case.conta, devices(case), case.month, add_months(case.month, 1) - DAY, case.now
        )

    return Question(
        ask,
        limit,
        lambda c: c.raw(RAW.format(bucket=RAW_BUCKETS["day"]), devices(c) or c.devices, c.whole_month),
    )


def _months(case: Case, how_many: int) -> Window:
    first = months_until(local_month(case.now, case.conta.zone), how_many)[0]
    return Window(midnight(first, case.conta.zone), case.now, timedelta(days=1), case.conta.zone)


def _drawn(case: Case) -> list[Dispositivo]:
    return case.drawn


def _one(case: Case) -> list[Dispositivo]:
    return [case.one]


QUARTER = timedelta(minutes=15)
QUESTIONS: Mapping[str, Question] = {
    "has anything changed": Question(lambda c: fleet.sequences(c.conta), 50),
    "devices": Question(lambda c: fleet.active_devices(c.conta), 50),
    "gateways": Question(lambda c: fleet.active_gateways(c.conta), 50),
    "latest readings": Question(
        lambda c: latest.latest_readings(c.conta, c.devices, c.last(1), c.now),
        50,
        lambda c: c.raw(RAW_LATEST, c.devices, c.last(1)),
    ),
    "month so far, and the month before": Question(
        lambda c: consumption.month_to_date(c.conta, None, c.now),
        50,
        lambda c: c.raw(RAW.format(bucket=RAW_BUCKETS["month"]), c.devices, _months(c, 2)),
    ),
    "thirteen months, and the year before": Question(
        lambda c: consumption.monthly_consumption(c.conta, None, c.now),
        50,
        lambda c: c.raw(RAW.format(bucket=RAW_BUCKETS["month"]), c.devices, _months(c, 25)),
    ),
    "lines, 24 hours": _line(_drawn, lambda c: c.last(1)),
    "lines, 7 days": _line(_drawn, lambda c: c.last(7)),
    "lines, 30 days": _line(_drawn, lambda c: c.last(30)),
    "lines, a month of the past": _line(_drawn, lambda c: c.whole_month),
    "lines, a year": _line(_drawn, lambda c: c.last(365)),
    "days of a month, whole Conta": _days(lambda _: None),
    "peak of a month, whole Conta": Question(
        lambda c: demand.greatest_peak(c.conta, c.devices, c.whole_month.start, c.whole_month.end, c.now),
        50,
        lambda c: c.raw(RAW_PEAK, c.devices, c.whole_month, QUARTER),
    ),
    "a month of one device: line": _line(_one, lambda c: c.whole_month, 30),
    "a month of one device: days": _days(_one, 30),
    "a month of one device: peak": Question(
        lambda c: demand.peaks(c.conta, [c.one], c.whole_month.start, c.whole_month.end, c.now),
        30,
        lambda c: c.raw(RAW_PEAK, [c.one], c.whole_month, QUARTER),
    ),
}


def cases(job: QueryJob, number: int) -> list[Case]:
    """Choose Contas, calendars, devices and months by chance.

    The same for the same seed.
    """
    chance = random.Random(f"{job.seed}-{number}")
    now, start = datetime.fromisoformat(job.now), datetime.fromisoformat(job.start)
    contas = list(Conta.objects.order_by("pk"))
    devices: dict[int, list[Dispositivo]] = {conta.pk: fleet.active_devices(conta) for conta in contas}
    chosen = []
    for _ in range(job.samples):
        conta = copy(chance.choice(contas))
        conta.timezone = chance.choice(ZONES)
        months = (now.date().year - start.date().year) * 12 + now.date().month - start.date().month
        month = add_months(local_month(now, conta.zone), -chance.randint(0, max(0, months - 1)))
        chosen.append(Case(conta, devices[conta.pk], now, month, chance.choice(devices[conta.pk])))
    return chosen


def ask(name: str, question: Question, asked: list[Case], raw: int) -> QuestionTimes:
    """Ask the question of all cases, four times each.

    The first ``raw`` cases are asked of raw readings too.
    """
    first, busy = zip(*(_timed(question.ask, case) for case in asked), strict=True)
    with connection.execute_wrapper(counter := _Counter()):
        again = [min(_timed(question.ask, case)[0] for _ in range(REPETITIONS)) for case in asked]
    slow: list[float] = []
    if question.raw:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, false)", [str(RAW_TIMEOUT_MS)])
        slow = sorted(_raw_times(question.raw, asked[:raw]))
    median = 1000 * slow[len(slow) // 2] if slow else None
    new, used, best = (Percentiles.of(sorted(found)) for found in (first, busy, again))
    return QuestionTimes(
        name, question.limit, new, used, best, median, counter.count / len(asked) / REPETITIONS
    )


def _raw_times(raw: Callable[[Case], None], asked: list[Case]) -> Iterator[float]:
    """Yield the seconds that raw readings take, case by case.

    The time limit where that was too short.
    """
    whole = 0.0
    for case in asked:
        if whole > RAW_ENOUGH_S:
            return
        try:
            seconds, _ = _timed(raw, case)
        except OperationalError:
            seconds = RAW_TIMEOUT_MS / 1000
        whole += seconds
        yield seconds


class _Counter:
    """Counts statements."""

    count = 0

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.count += 1
        return execute(sql, params, many, context)


def _timed(question: Callable[[Case], object], case: Case) -> tuple[float, float]:
    """Return the seconds that a question takes, by the clock and of processors."""
    began, busy = time.perf_counter(), _busy()
    question(case)
    return time.perf_counter() - began, _busy() - busy


def _busy() -> float:
    """Return the processor seconds of this process and its session so far."""
    connection.ensure_connection()
    session = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat")
    return time.process_time() + int(session.read_text(encoding="ascii").split()[0]) / 1e9


def main() -> None:
    """Read the job, ask, print the times."""
    collector.settle()  # as a web process does
    job = QueryJob(**json.loads(sys.argv[1]))
    found = []
    for number, (name, question) in enumerate(QUESTIONS.items()):
        times = ask(name, question, cases(job, number), job.raw)
        first, raw = times.first, "" if times.raw is None else f", raw {times.raw:,.0f} ms"
        busy = f"of a processor {times.busy.p95:.1f} ms"
        text = f"{name}: p50 {first.p50:.1f} ms, p95 {first.p95:.1f} ms, {busy}{raw}"
        print(text, file=sys.stderr, flush=True)
        found.append(asdict(times))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
