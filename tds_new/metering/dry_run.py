"""What a device's consumption would be by month, computed beside what is stored.

Nothing is written. A device's readings go through the rules in order of time and in portions, and what no
later reading can change is summed at once: so a year of readings every ten seconds takes no more memory than
some days of them. Times are microseconds since 1970, consumption whole 0.000001.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from psycopg import Connection, Cursor

from tds_new.metering.inputs import load_meters, load_standings, state_of
from tds_new.metering.rules.blocks import (
    Account,
    Chain,
    Computation,
    compute_chains,
    consumption_of,
    portions,
)
from tds_new.metering.rules.meter import Meter
from tds_new.metering.rules.segments import Segment, SegmentClass, State
from tds_new.metering.rules.unusual import AFTER_US, BEFORE_US, unusual
from tds_new.metering.times import (
    BEGINNING,
    BLOCK_US,
    DAY_US,
    END,
    HOUR_US,
    block_start,
    from_datetime,
    to_datetime,
    to_timestamptz,
    us_of,
)
from tds_new.storage import session
from tds_new.units import canonical_unit

PORTION = 20_000  # readings that are computed at a time; more where a device's jumps go back further
FETCHED = 5_000  # readings that the database hands over at a time

SNAPSHOT = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
)
ZONE = "SELECT timezone FROM tds_new_conta WHERE id = %s"
DROPPED = f"SELECT {us_of('ate')} FROM tds_new_consumo_congelado"
ANCHORS = f"""
SELECT {us_of("leitura_em")}, (valor * 10000)::bigint, conta_id, gateway_id, tipo_leitura, unidade,
    {us_of("final_ate")}
FROM tds_new_consumo_ancora WHERE dispositivo_id = %s ORDER BY leitura_em
"""
RESUMED = f"""
SELECT {us_of("leitura_em")}, estado::text FROM tds_new_consumo_retomada
WHERE dispositivo_id = %s AND leitura_em <= %s::timestamptz ORDER BY leitura_em DESC LIMIT 1
"""
READINGS = f"""
SELECT {us_of("time")}, (valor * 10000)::bigint, conta_id, gateway_id, tipo_leitura, unidade
FROM tds_new_leitura_dispositivo WHERE dispositivo_id = %s AND time >= %s ORDER BY time
"""
# The hours before the first one that is computed, which unusual consumption is compared with.
EARLIER_HOURS = f"""
SELECT {us_of("date_bin('1 hour', bloco, 'epoch')")}, sum(consumo * 1000000)
FROM tds_new_consumo_15min
WHERE dispositivo_id = %s AND conta_id = %s AND bloco >= %s AND bloco < %s AND consumo IS NOT NULL GROUP BY 1
"""
STORED = """
SELECT b.conta_id, to_char(b.bloco AT TIME ZONE c.timezone, 'YYYY-MM'), sum(b.consumo * 1000000),
    coalesce(sum(b.consumo * 1000000) FILTER (WHERE b.bloco >= %(final)s), 0)
FROM tds_new_consumo_15min b JOIN tds_new_conta c ON c.id = b.conta_id
WHERE b.dispositivo_id = %(device)s AND b.consumo IS NOT NULL GROUP BY 1, 2
"""
WAITING = """
SELECT o.conta_id, to_char(o.leitura_em AT TIME ZONE c.timezone, 'YYYY-MM'), o.classe, count(*),
    count(*) FILTER (WHERE o.leitura_em >= %(final)s)
FROM tds_new_ocorrencia_medicao o JOIN tds_new_conta c ON c.id = o.conta_id
WHERE o.dispositivo_id = %(device)s AND o.espera GROUP BY 1, 2, 3
"""


class Month(NamedTuple):
    """A Conta and a month of its zone, ``YYYY-MM``."""

    conta_id: int
    month: str


@dataclass(slots=True)
class Figures:
    """Consumption by month, and how many readings of a class wait for a person."""

    consumption: dict[Month, int] = field(default_factory=dict)
    waiting: dict[Month, Counter[str]] = field(default_factory=dict)

    def wait(self, month: Month, kind: str, count: int = 1) -> None:
        """Count readings that wait."""
        if count:
            self.waiting.setdefault(month, Counter())[kind] += count


class Change(NamedTuple):
    """A month's consumption and readings that wait, by class, before and after."""

    month: Month
    before: int
    after: int
    waiting_before: Counter[str]
    waiting_after: Counter[str]


class Start(NamedTuple):
    """From where a device is computed.

    No block before ``final`` counts. Readings from ``origin`` on are read, with the register's ``state``
    there (None: none). ``edition``: where the rules of today begin for the device, None: at its beginning.
    """

    final: int
    origin: int
    state: State | None
    edition: int | None


@contextmanager
def snapshot(connection: Connection[Any]) -> Iterator[Cursor[Any]]:
    """Open a transaction that sees one state of the database and cannot write."""
    with connection.transaction(), Cursor(connection) as cursor:
        for statement in SNAPSHOT:
            cursor.execute(statement)
        yield cursor


def changes(
    cursor: Cursor[Any], device_id: int, meter: Meter | None = None, *, rebuilt: bool
) -> list[Change]:
    """Return what would change of a device by month, in order.

    ``meter``: the device's, with other parameters (None: as it is); ``rebuilt``: as if all of it were
    computed by the rules of today, else from where these hold for it. In a :func:`snapshot`.
    """
    if meter is None:
        meter = load_meters(cursor, [device_id])[device_id]
    start = _start(cursor, device_id, rebuilt=rebuilt)
    before, after = _stored(cursor, device_id, start.final)
    _Run(cursor, device_id, meter, start).add_to(after)
    months = {m for f in (before, after) for found in (f.consumption, f.waiting) for m in found}
    found = [
        Change(
            month,
            before.consumption.get(month, 0),
            after.consumption.get(month, 0),
            before.waiting.get(month, Counter()),
            after.waiting.get(month, Counter()),
        )
        for month in sorted(months, key=lambda m: (m.month, m.conta_id))
    ]
    return [c for c in found if c.before != c.after or c.waiting_before != c.waiting_after]


def edition(cursor: Cursor[Any], device_id: int) -> int | None:
    """Return from where on the rules of today hold for a device.

    None: from its beginning.
    """
    return load_standings(cursor, [device_id])[device_id].edition


def _stored(cursor: Cursor[Any], device_id: int, final: int) -> tuple[Figures, Figures]:
    """Return the stored figures, and their part before ``final``, which stays."""
    stored, kept = Figures(), Figures()
    parameters = {"device": device_id, "final": to_timestamptz(final)}
    for conta_id, name, consumption, changing in cursor.execute(STORED, parameters):
        month = Month(conta_id, name)
        stored.consumption[month] = int(consumption)
        kept.consumption[month] = int(consumption - changing)
    for conta_id, name, kind, count, changing in cursor.execute(WAITING, parameters):
        month = Month(conta_id, name)
        stored.wait(month, kind, count)
        kept.wait(month, kind, count - changing)
    return stored, kept


def _start(cursor: Cursor[Any], device_id: int, *, rebuilt: bool) -> Start:
    anchors = cursor.execute(ANCHORS, [device_id]).fetchall()
    final = max((anchor[-1] for anchor in anchors), default=BEGINNING)
    origin = anchors[0][0] if anchors else BEGINNING
    since = None if rebuilt else edition(cursor, device_id)
    if since is not None and since >= final:
        final = since
        resumed = cursor.execute(RESUMED, [device_id, to_timestamptz(final)]).fetchone()
    else:
        resumed = cursor.execute(RESUMED, [device_id, to_timestamptz(origin)]).fetchone() if anchors else None
        resumed = resumed if resumed and resumed[0] == origin else None
    if resumed is None:
        return Start(final, origin, None, since)
    return Start(final, resumed[0], state_of(resumed[1]), since)


class _Calendar:
    """The months of Contas' zones."""

    def __init__(self, cursor: Cursor[Any]) -> None:
        self._cursor = cursor
        self._zones: dict[int, ZoneInfo] = {}
        self._latest: dict[int, tuple[int, int, Month]] = {}

    def month_of(self, conta_id: int, time: int) -> Month:
        """Return the month in which the block of ``time`` begins."""
        return self.stretch(conta_id, time - time % BLOCK_US)[2]

    def stretch(self, conta_id: int, block: int) -> tuple[int, int, Month]:
        """Return the month of a block: its first block, the next month's, and the month."""
        known = self._latest.get(conta_id)
        if known is not None and known[0] <= block < known[1]:
            return known
        if conta_id not in self._zones:
            row = self._cursor.execute(ZONE, [conta_id]).fetchone()
            self._zones[conta_id] = ZoneInfo(row[0] if row else "UTC")
        zone = self._zones[conta_id]
        local = to_datetime(block).astimezone(zone)
        index = local.year * 12 + local.month - 1
        first, following = (_first_block(index + more, zone) for more in (0, 1))
        found = first, following, Month(conta_id, f"{local:%Y-%m}")
        self._latest[conta_id] = found
        return found


def _first_block(month: int, zone: ZoneInfo) -> int:
    """Return the first block of a month, counted from the year 0."""
    start = from_datetime(datetime(month // 12, month % 12 + 1, 1, tzinfo=zone).astimezone(UTC))
    return -(-start // BLOCK_US) * BLOCK_US


class _Run:
    """One pass over a device's readings."""

    def __init__(self, cursor: Cursor[Any], device_id: int, meter: Meter, start: Start) -> None:
        self._cursor, self._device_id, self._meter, self._start = cursor, device_id, meter, start
        self._calendar = _Calendar(cursor)
        self._figures = Figures()
        self._window: list[Chain] = []
        self._state = start.state
        self._judged = _Judged(meter, start.final)
        self._noted_until = BEGINNING

    def add_to(self, figures: Figures) -> None:
        """Add the figures of all readings."""
        self._figures = figures
        held, enough = 0, PORTION
        for readings in self._portions():
            self._take(readings)
            held += len(readings)
            if held >= enough:
                held = self._settle()
                enough = PORTION + 2 * held
        if self._window:
            self._fold(self._compute(), END, whole=True)

    def _know_earlier_hours(self, conta_id: int) -> None:
        """Load what the first chain consumed just before what is computed."""
        final = self._start.final
        first = final - BEFORE_US - DAY_US
        if self._start.state is None:  # the chain begins there
            first = max(first, block_start(self._start.origin))
        bounds = to_timestamptz(first), to_timestamptz(final)
        found = self._cursor.execute(EARLIER_HOURS, [self._device_id, conta_id, *bounds])
        self._judged.know({hour: int(consumption) for hour, consumption in found})

    def _portions(self) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the device's readings in order of time, the anchors first."""
        row = self._cursor.execute(DROPPED).fetchone()
        since = max(self._start.origin, row[0] if row else BEGINNING)
        anchors = self._cursor.execute(ANCHORS, [self._device_id]).fetchall()
        yield [tuple(a[:6]) for a in anchors if a[0] >= self._start.origin]
        with self._cursor.connection.cursor(name="tds_new_dry_run") as readings:
            readings.execute(READINGS, [self._device_id, to_timestamptz(since)])
            while rows := readings.fetchmany(FETCHED):
                yield rows

    def _take(self, readings: Iterable[tuple[Any, ...]]) -> None:
        """Add readings to the window, as the ledger uses them."""
        discarded, corrected = self._meter.discarded, self._meter.corrected
        chain = self._window[-1] if self._window else None
        for time, value, conta_id, gateway_id, kind, unit in readings:
            if time in discarded:
                continue
            owner = conta_id, kind, canonical_unit(unit)
            if chain is None or (chain.conta_id, chain.kind, chain.unit) != owner:
                if chain is None and self._start.final > BEGINNING:
                    self._know_earlier_hours(conta_id)
                chain = Chain(*owner)
                self._window.append(chain)
            chain.times.append(time)
            chain.values.append(corrected.get(time, value))
            chain.gateways.append(gateway_id)

    def _compute(self, *, watch_from: int = END) -> Computation:
        return compute_chains(
            self._window, self._meter, state=self._state, watch_from=watch_from, clip=self._start.edition
        )

    def _settle(self) -> int:
        """Sum what no later reading changes, and return how many readings are still held."""
        if not self._window:
            return 0
        computation = self._compute(watch_from=BEGINNING)
        newest, chain = computation.accounts[-1], self._window[-1]
        border = BEGINNING if newest.border is None else newest.border
        at = next((time for time in reversed(newest.states) if time <= border), None)
        if at is not None and (len(self._window) > 1 or at > chain.times[0]):
            self._fold(computation, at, whole=False)
            index = bisect_left(chain.times, at)
            kept = chain.times[index:], chain.values[index:], chain.gateways[index:]
            self._window = [Chain(chain.conta_id, chain.kind, chain.unit, *kept)]
            self._state = newest.states[at]
        return sum(len(chain.times) for chain in self._window)

    def _fold(self, computation: Computation, until: int, *, whole: bool) -> None:
        """Sum the segments up to a reading, and note what waits.

        With ``whole`` there are no later readings.
        """
        for number, (account, chain) in enumerate(zip(computation.accounts, self._window, strict=True)):
            ended = whole or number + 1 < len(self._window)
            segments = [s for s in account.segments if ended or s.end <= until]
            for segment in segments:
                self._sum(account.conta_id, segment)
            if chain.kind == "ACUMULADA":
                for time, kind in self._judged.take(account, segments, until, ended=ended):
                    self._wait(account.conta_id, time, kind)
        for conta_id, segment in computation.transfers:
            self._sum(conta_id, segment)
        owners = {o.time for o in computation.occurrences if o.waits}
        last = until - 1 if not whole and self._is_open(until) else until
        contas = {t: c.conta_id for c in self._window for t in c.times if t in owners} if owners else {}
        for occurrence in computation.occurrences:
            if occurrence.waits and self._noted_until < occurrence.time <= last:
                self._wait(contas[occurrence.time], occurrence.time, occurrence.kind.value)
        self._noted_until = last

    def _is_open(self, time: int) -> bool:
        """Return whether the reading's own interval ends with the next reading."""
        return self._window[-1].kind == "INCREMENTAL" and self._meter.stamp_is_start

    def _wait(self, conta_id: int, time: int, kind: str) -> None:
        if time >= self._start.final:
            self._figures.wait(self._calendar.month_of(conta_id, time), kind)

    def _sum(self, conta_id: int, segment: Segment) -> None:
        """Add a segment's consumption to the months that it lies in."""
        start, end, final = segment.start, segment.end, self._start.final
        if end <= final:
            return
        _, following, month = self._calendar.stretch(conta_id, start - start % BLOCK_US)
        totals = self._figures.consumption
        if start >= final and end <= following:
            counted = sum(portion for _, portion, _ in portions(segment, self._meter, END))
            totals[month] = totals.get(month, 0) + counted
            return
        for block, portion, _ in portions(segment, self._meter, BLOCK_US):
            if block >= final:
                month = self._calendar.stretch(conta_id, block)[2]
                totals[month] = totals.get(month, 0) + portion


class _Judged:
    """The judgement of unusual consumption, as far as the hours around are known."""

    def __init__(self, meter: Meter, final: int) -> None:
        """Nothing before ``final`` is computed."""
        self._meter, self._final = meter, final
        self._forget()

    def know(self, hours: dict[int, int]) -> None:
        """Take the hours before what is computed as known."""
        self._hours |= hours

    def _forget(self) -> None:
        self._segments: list[Segment] = []
        self._hours: dict[int, int] = {}
        self._until = BEGINNING
        self._zero_start: int | None = None

    def take(
        self, account: Account, segments: list[Segment], until: int, *, ended: bool
    ) -> list[tuple[int, str]]:
        """Take a chain's next segments; return time and class of readings that wait.

        ``until``: up to where the segments are known; ``ended``: whether the chain has no more.
        """
        self._zero_start = account.zero_start if self._zero_start is None else self._zero_start
        self._segments += segments
        computed = [s for s in segments if s.start >= self._final]
        for hour, consumption in consumption_of(computed, self._meter).items():
            self._hours[hour] = self._hours.get(hour, 0) + consumption
        before = segments[: len(segments) - len(computed)]
        for block, consumption in consumption_of(before, self._meter, BLOCK_US).items():
            if block >= self._final:
                hour = block - block % HOUR_US
                self._hours[hour] = self._hours.get(hour, 0) + consumption
        last = END if ended else until - until % HOUR_US - AFTER_US - HOUR_US
        decided = self._meter.decided
        found = [
            u.segment
            for u in unusual(self._segments, self._hours, zero_start=self._zero_start, decided=decided)
            if self._until < u.segment.end <= last
        ]
        waits = [(s.end, _class_of(s)) for s in found if s.end not in self._meter.looked]
        if ended:
            self._forget()
        else:
            self._until = max(self._until, last)
            self._trim()
        return waits

    def _trim(self) -> None:
        """Forget what no judgement to come looks at."""
        keep = min((s.start for s in self._segments if s.end > self._until), default=self._until)
        first = keep - keep % HOUR_US
        self._segments = [s for s in self._segments if s.end > first]
        self._hours = {h: c for h, c in self._hours.items() if h >= first - BEFORE_US}


def _class_of(segment: Segment) -> str:
    return "VIRADA" if segment.kind is SegmentClass.VIRADA else "INCOMUM"


def connect() -> Connection[Any]:
    """Open a session for dry runs."""
    return session.connect("tds_new_dry_run")
