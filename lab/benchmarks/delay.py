"""From the commit of a reading until its block is right, beside the load of a live fleet."""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg import Connection

from lab.benchmarks import dataset
from lab.benchmarks.consumption_bench import Bench
from lab.benchmarks.figures import Percentiles, Verdict, at_most, nothing
from lab.benchmarks.latency import cells
from lab.harness.errors import LabError
from tds_new.metering.worker import drain

WATCHED = 30  # gateways whose devices are looked at
EVERY = 0.1  # seconds; the figures are no finer
TIMEOUT = 120.0

# In one snapshot: what is committed of each watched device, and what its blocks count.
WATCH = """
SELECT d.id, l.lidas, coalesce(b.lidas, 0), b.consumo
FROM unnest(%(devices)s::bigint[]) AS d (id)
CROSS JOIN LATERAL (SELECT count(*) AS lidas FROM tds_new_leitura_dispositivo WHERE dispositivo_id = d.id AND time >= %(start)s) l
CROSS JOIN LATERAL (
    SELECT sum(leituras) AS lidas, sum(consumo) AS consumo FROM tds_new_consumo_15min
    WHERE dispositivo_id = d.id AND bloco >= %(start)s - INTERVAL '4 hours'
) b
"""
DEVICES = """
SELECT d.id, d.codigo, (SELECT valor FROM tds_new_leitura_dispositivo WHERE dispositivo_id = d.id ORDER BY time DESC LIMIT 1),
    (SELECT sum(leituras) FROM tds_new_consumo_15min WHERE dispositivo_id = d.id),
    (SELECT sum(consumo) FROM tds_new_consumo_15min WHERE dispositivo_id = d.id)
FROM tds_new_dispositivo d WHERE gateway_id IN (SELECT id FROM tds_new_gateway ORDER BY id LIMIT %s)
"""
# What the publisher's registers begin with, and grow by with each reading.
REGISTERS = {"D01": (Decimal(1000), Decimal("0.25")), "D02": (Decimal(500), Decimal("0.013"))}
BEFORE = timedelta(
    minutes=70
)  # so long have the gateways been sending; registers are below what the publisher begins with by then
STEPS = 60  # readings of each device that are stored at once


@dataclass(frozen=True)
class Delay:
    """What the part found; ``worker`` and ``database`` are processors that the worker and its session kept busy."""

    rate: float
    seconds: float
    senders: int
    apart: int
    watched: int
    delay: dict[str, Any]
    wrong: int
    differing: int
    worker: float
    database: float


class Watch:
    """Follows some devices: when each of their readings was seen committed, and when in its block."""

    def __init__(self, connection: Connection[Any], start: datetime) -> None:
        self._connection = connection
        self._start = start
        self._before: dict[
            int, tuple[int, Decimal]
        ] = {}  # readings counted before the start; what the registers are to count from
        for device, code, value, counted, consumption in connection.execute(DEVICES, [WATCHED]):
            first = REGISTERS[code][0] - value + consumption if code in REGISTERS else Decimal(0)
            self._before[device] = counted, first
        self._steps = {
            device: REGISTERS[code][1]
            for device, code, *_ in connection.execute(DEVICES, [WATCHED])
            if code in REGISTERS
        }
        self.committed: dict[int, list[float]] = {device: [] for device in self._before}
        self._counted: dict[int, int] = {}
        self.delays: list[float] = []
        self.wrong = 0

    def look(self) -> None:
        """Look once."""
        rows = self._connection.execute(
            WATCH, {"devices": list(self._before), "start": self._start}
        ).fetchall()
        now = time.monotonic()
        for device, stored, counted, consumption in rows:
            before, first = self._before[device]
            seen, counted = self.committed[device], counted - before
            seen.extend([now] * (stored - len(seen)))
            self.delays += [now - moment for moment in seen[self._counted.get(device, 0) : counted]]
            self._counted[device] = counted
            if (
                device in self._steps
                and counted
                and consumption != first + self._steps[device] * (counted - 1)
            ):
                self.wrong += 1

    def settle(self) -> None:
        """Look until every committed reading is in its block. Raises LabError where that takes too long."""
        deadline = time.monotonic() + TIMEOUT
        self.look()
        while any(len(seen) > self._counted.get(device, 0) for device, seen in self.committed.items()):
            if time.monotonic() > deadline:
                raise LabError(f"after {TIMEOUT:.0f} s readings are still missing in their blocks")
            time.sleep(EVERY)
            self.look()


def measure(bench: Bench) -> Delay:
    """Publish at the rate, with a consumer and a worker as shipped. Raises LabError where readings do not get into their blocks."""
    sizes, made = bench.sizes, bench.made
    with made.connect() as connection:
        dataset.forget_fleet(connection)
    made.register_fleet(sizes.senders)
    with made.connect() as connection:
        dataset.prepare(connection)
        steps = int(BEFORE.total_seconds()) // sizes.apart
        start = datetime.now(UTC).replace(microsecond=0) - BEFORE
        for first in range(0, steps - 1, STEPS):
            dataset.store(connection, start, sizes.apart, first, min(first + STEPS, steps - 1))
        drain(connection)
        bench.say(f"{sizes.senders:,} gateways have sent for {BEFORE}")
    with made.connect() as connection, made.consumer(), bench.worker() as worker:
        start = datetime.now(UTC).replace(microsecond=0)
        watch = Watch(connection, start)
        job = bench.load.job(
            int(sizes.rate * sizes.seconds), sizes.senders, rate=sizes.rate, start=start.isoformat()
        )
        before, began = worker.used(), time.monotonic()
        with bench.load.begin(job) as publication:
            while publication.running:
                watch.look()
                time.sleep(EVERY)
            publication.result()
        took = time.monotonic() - began
        busy = [(now - then) / took for then, now in zip(before, worker.used(), strict=True)]
        watch.settle()
    delay = Percentiles.of(sorted(watch.delays))
    with made.connect() as connection:
        drain(connection)  # what the worker had not come to of the others
        differing = dataset.differing(connection, list(watch.committed))
    bench.say(
        f"{sizes.rate:,.0f} messages/s for {sizes.seconds:g} s: p50 {delay.p50:.0f} ms, p99 {delay.p99:.0f} ms"
    )
    return Delay(
        sizes.rate,
        sizes.seconds,
        sizes.senders,
        sizes.apart,
        len(watch.committed),
        asdict(delay),
        watch.wrong,
        differing,
        *busy,
    )


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    """The delay, and that what was counted was right."""
    return [
        at_most(
            f"commit to right block at {found['rate']:,.0f} messages/s of 3 readings, p99",
            10,
            found["delay"]["p99"] / 1000,
            "s",
            1,
        ),
        nothing("of the sums seen meanwhile wrong for the readings in them", found["wrong"]),
        nothing("blocks that a computation from everything has otherwise", found["differing"]),
    ]


def section(found: dict[str, Any]) -> list[str]:
    """The delays, and what they took."""
    rate = f"{found['rate']:,.0f} messages/s"
    return [
        f"{found['senders']:,} gateways of three devices, {rate} for {found['seconds']:g} s through broker, consumer and worker.",
        f"Each device has more than an hour of readings by then, {found['apart']} s apart.",
        f"The readings of {found['watched']} devices are watched, every {EVERY:g} s: when they are committed, and when in their block.",
        "",
        "| commit to block | readings | p50 | p95 | p99 | worst |",
        "|---|---|---|---|---|---|",
        f"| {rate} {cells(found['delay'])}",
        "",
        f"Meanwhile the worker kept {found['worker']:.2f} of a processor busy, its database sessions {found['database']:.2f}.",
    ]
