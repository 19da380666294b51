"""Delay from the commit of a reading until its block is right, under load."""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from psycopg import Connection

from lab.benchmarks import dataset
from lab.benchmarks.consumption_bench import Bench, Worker
from lab.benchmarks.figures import Percentiles, Requirement, at_most, distributions, nothing
from lab.harness.report import paragraph
from lab.harness.waiting import wait_until
from tds_new.metering.worker import drain

WATCHED = 30  # gateways whose devices are watched
INTERVAL_S = 0.1  # between two looks; the figures are no finer
TIMEOUT_S = 120.0

# In one snapshot: how many readings of each watched device are committed, and how many its blocks count.
LOOK = """
SELECT d.id, stored.readings, coalesce(counted.readings, 0), counted.consumption
FROM unnest(%(devices)s::bigint[]) AS d (id)
CROSS JOIN LATERAL (
    SELECT count(*) AS readings FROM tds_new_leitura_dispositivo
    WHERE dispositivo_id = d.id AND time >= %(start)s
) stored
CROSS JOIN LATERAL (
    SELECT sum(leituras) AS readings, sum(consumo) AS consumption FROM tds_new_consumo_15min
    WHERE dispositivo_id = d.id AND bloco >= %(start)s - INTERVAL '4 hours'
) counted
"""
DEVICES = """
SELECT d.id, d.codigo,
    (SELECT valor FROM tds_new_leitura_dispositivo WHERE dispositivo_id = d.id ORDER BY time DESC LIMIT 1),
    (SELECT sum(leituras) FROM tds_new_consumo_15min WHERE dispositivo_id = d.id),
    (SELECT sum(consumo) FROM tds_new_consumo_15min WHERE dispositivo_id = d.id)
FROM tds_new_dispositivo d WHERE gateway_id IN (SELECT id FROM tds_new_gateway ORDER BY id LIMIT %s)
"""
# The load generator's registers begin far above those of the hour before: that shall count at once.
NO_LIMIT = "UPDATE tds_new_dispositivo SET consumo_maximo_hora = NULL"
# The first value of the load generator's registers, and their growth by each reading.
REGISTERS = {"D01": (Decimal(1000), Decimal("0.25")), "D02": (Decimal(500), Decimal("0.013"))}
# How long the gateways have been sending before; their registers are below what the load generator begins
# with by then.
BEFORE = timedelta(minutes=70)
STEPS = 60  # readings of each device that are stored at once


@dataclass(frozen=True)
class Delay:
    """The figures of the part.

    ``worker`` and ``database`` are processors that the worker and its sessions kept busy.

    ``wrong`` counts sums that did not fit the readings in them; ``differing`` the blocks that a computation
    from everything has otherwise.
    """

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
    """Follows some devices.

    For each of their readings it notes when it was seen committed, and when in its block.
    """

    def __init__(self, connection: Connection[Any], start: datetime) -> None:
        """Watch the readings from ``start`` on over a ``connection`` in autocommit mode."""
        self._connection, self._start = connection, start
        # By device: readings counted before, and what a register counts from.
        self._before: dict[int, tuple[int, Decimal]] = {}
        self._steps: dict[int, Decimal] = {}
        for device, code, value, counted, consumption in connection.execute(DEVICES, [WATCHED]):
            first = Decimal(0)
            if code in REGISTERS:
                begin, self._steps[device] = REGISTERS[code]
                first = begin - value + consumption
            self._before[device] = counted, first
        self.committed: dict[int, list[float]] = {device: [] for device in self._before}
        self._counted: dict[int, int] = {}
        self.delays: list[float] = []
        self.wrong = 0

    def look(self) -> None:
        """Look once."""
        parameters = {"devices": list(self._before), "start": self._start}
        rows = self._connection.execute(LOOK, parameters).fetchall()
        now = time.monotonic()
        for device, stored, counted_ever, consumption in rows:
            before, first = self._before[device]
            seen, counted = self.committed[device], counted_ever - before
            seen.extend([now] * (stored - len(seen)))
            self.delays += [now - moment for moment in seen[self._counted.get(device, 0) : counted]]
            self._counted[device] = counted
            step = self._steps.get(device)
            if step is not None and counted and consumption != first + step * (counted - 1):
                self.wrong += 1

    def settle(self) -> None:
        """Look until every committed reading is in its block.

        Raises LabError if that takes too long.
        """

        def is_settled() -> bool:
            self.look()
            return all(len(seen) <= self._counted.get(device, 0) for device, seen in self.committed.items())

        wait_until(is_settled, "every reading is in its block", TIMEOUT_S, interval=INTERVAL_S)


class Busy(NamedTuple):
    """Processors that the worker and its database sessions kept busy."""

    worker: float
    database: float


def measure(bench: Bench) -> Delay:
    """Publish at the rate, with a consumer and a worker as shipped.

    Raises LabError if readings do not get into their blocks.
    """
    sizes, environment = bench.sizes, bench.environment
    _prepare(bench)
    with environment.connect() as connection, environment.consumer(), bench.worker() as worker:
        start = datetime.now(UTC).replace(microsecond=0)
        watch = Watch(connection, start)
        busy = _publish(bench, watch, worker, start)
        watch.settle()
    delay = Percentiles.of(sorted(watch.delays))
    with environment.connect() as connection:
        drain(connection)  # what the worker had not come to of the other devices
        differing = dataset.differing(connection, list(watch.committed))
    bench.say(
        f"{sizes.rate:,.0f} messages/s for {sizes.seconds:g} s: "
        f"p50 {delay.p50:.0f} ms, p99 {delay.p99:.0f} ms"
    )
    return Delay(
        sizes.rate,
        sizes.seconds,
        sizes.senders,
        sizes.apart,
        watched=len(watch.committed),
        delay=asdict(delay),
        wrong=watch.wrong,
        differing=differing,
        worker=busy.worker,
        database=busy.database,
    )


def _prepare(bench: Bench) -> None:
    """Register the gateways, and store and compute what they have sent before."""
    sizes, environment = bench.sizes, bench.environment
    with environment.connect() as connection:
        dataset.clear_fleet(connection)
    environment.register_fleet(sizes.senders)
    steps = int(BEFORE.total_seconds()) // sizes.apart
    start = datetime.now(UTC).replace(microsecond=0) - BEFORE
    with environment.connect() as connection:
        connection.execute(NO_LIMIT)
        dataset.create_functions(connection)
        for first in range(0, steps - 1, STEPS):
            dataset.store(connection, start, sizes.apart, first, min(first + STEPS, steps - 1))
        drain(connection)
    bench.say(f"{sizes.senders:,} gateways have sent for {BEFORE}")


def _publish(bench: Bench, watch: Watch, worker: Worker, start: datetime) -> Busy:
    """Publish readings from ``start`` on, and look meanwhile."""
    sizes = bench.sizes
    messages = int(sizes.rate * sizes.seconds)
    job = bench.load.job(messages, sizes.senders, rate=sizes.rate, start=start.isoformat())
    before, began = worker.used(), time.monotonic()
    with bench.load.begin(job) as publication:
        while publication.running:
            watch.look()
            time.sleep(INTERVAL_S)
        publication.result()
    took = time.monotonic() - began
    return Busy(*((now - then) / took for then, now in zip(before, worker.used(), strict=True)))


def requirements(figures: dict[str, Any]) -> list[Requirement]:
    """Require a bound of the delay, and that what was counted was right."""
    what = f"commit to right block at {figures['rate']:,.0f} messages/s of 3 readings, p99"
    return [
        at_most(what, 10, figures["delay"]["p99"] / 1000, "s", 1),
        nothing("of the sums seen meanwhile wrong for the readings in them", figures["wrong"]),
        nothing("blocks that a computation from everything has otherwise", figures["differing"]),
    ]


def section(figures: dict[str, Any]) -> list[str]:
    """Describe the delays, and what they took."""
    rate = f"{figures['rate']:,.0f} messages/s"
    return [
        *paragraph(
            f"{figures['senders']:,} gateways of three devices, {rate} for {figures['seconds']:g} s through",
            "broker, consumer and worker. Each device has more than an hour of readings by then,",
            f"{figures['apart']} s apart. The readings of {figures['watched']} devices are watched, every",
            f"{INTERVAL_S:g} s: when they are committed, and when in their block.",
        ),
        "",
        *distributions("commit to block", [(rate, figures["delay"])], "readings"),
        "",
        *paragraph(
            f"Meanwhile the worker kept {figures['worker']:.2f} of a processor busy, its database sessions",
            f"{figures['database']:.2f}.",
        ),
    ]
