"""Many gateways: the start with all of them registered, statements per message, and how soon a changed registration counts."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from lab.benchmarks.consumer import Consumer
from lab.benchmarks.environment import DATABASE
from lab.benchmarks.figures import Verdict, at_most
from lab.benchmarks.ingest_bench import Bench
from lab.benchmarks.publisher import gateway_mac
from lab.harness.errors import LabError

STARTS = 3
ROUNDS = 3
PROBE_RATE = 50.0  # messages/s of the gateway whose registration changes
BACKGROUND_RATE = 1_000.0
TIMEOUT = 60.0
# Every statement of a session of the consumer is a line of the server's log: counted without an extension.
LOG_STATEMENTS = f"ALTER DATABASE {DATABASE} SET log_statement = 'all'"
LOG_SHORT = f"ALTER DATABASE {DATABASE} SET log_parameter_max_length = 0"
LOG_NOTHING = f"ALTER DATABASE {DATABASE} RESET ALL"

STORED = """
SELECT count(*) FROM tds_new_leitura_dispositivo
WHERE dispositivo_id IN (SELECT d.id FROM tds_new_dispositivo d JOIN tds_new_gateway g ON g.id = d.gateway_id WHERE g.mac = %(mac)s)
"""
REFUSED = "SELECT count(*) FROM tds_new_mensagem_rejeitada WHERE motivo = %(motivo)s AND topico LIKE '%%/' || %(mac)s || '/telemetry'"
DEACTIVATE_DEVICE = """
UPDATE tds_new_dispositivo SET status = 'INATIVO'
WHERE codigo = 'D01' AND gateway_id = (SELECT id FROM tds_new_gateway WHERE mac = %(mac)s)
"""
DEACTIVATE_GATEWAY = "UPDATE tds_new_gateway SET is_active = false WHERE mac = %(mac)s"


@dataclass(frozen=True)
class Registry:
    """What the part found; times in seconds. ``changes`` has each kind's times from the commit of the change to its first effect."""

    gateways: int
    devices: int
    starts: list[float]
    messages: int
    batches: int
    statements: int
    changes: dict[str, list[float]]


def measure(bench: Bench) -> Registry:
    """Register the fleet, start the consumer a few times, send every gateway's messages, then change registrations under way."""
    made, gateways = bench.made, bench.sizes.registered
    made.register_fleet(gateways)
    made.register_fleet(bench.sizes.gateways)
    registered, devices = (
        made.scalar(f"SELECT count(*) FROM tds_new_{table}") for table in ("gateway", "dispositivo")
    )
    bench.say(f"{registered:,} gateways and {devices:,} devices registered")
    starts = []
    for _ in range(STARTS):
        consumer = made.start_consumer()
        starts.append(consumer.wait_until_subscribed())
        consumer.stop()
    bench.say("started and subscribed in " + ", ".join(f"{seconds:.2f} s" for seconds in starts))
    messages, batches, statements = _statements(bench)
    bench.say(
        f"{statements:,} statements for {messages:,} messages of {gateways:,} gateways in {batches:,} batches"
    )
    with made.consumer() as consumer:
        changes = _changes(bench, consumer)
    return Registry(registered, devices, starts, messages, batches, statements, changes)


def _statements(bench: Bench) -> tuple[int, int, int]:
    """Messages sent, at least two of each gateway, the batches they were stored in, and the consumer's statements meanwhile."""
    made, gateways = bench.made, bench.sizes.registered
    messages = 2 * gateways
    with made.connect() as connection:
        connection.execute(LOG_STATEMENTS)
        connection.execute(LOG_SHORT)
    try:
        with made.consumer() as consumer:
            position, before = made.log_size(), consumer.metric("tds_batches_total")
            bench.load.publish(bench.load.job(messages, gateways))
            lines = made.logged_since(position)
            batches = consumer.metric("tds_batches_total") - before
    finally:
        with made.connect() as connection:
            connection.execute(LOG_NOTHING)
    return messages, int(batches), sum(" tds_new_consumer " in line and " LOG:  " in line for line in lines)


def _changes(bench: Bench, consumer: Consumer) -> dict[str, list[float]]:
    """Change registrations of gateways that send, while all others send too."""
    made, load, gateways = bench.made, bench.load, bench.sizes.registered
    found: dict[str, list[float]] = {}
    seconds = ROUNDS * 3 * TIMEOUT
    background = load.job(int(BACKGROUND_RATE * seconds), gateways, rate=BACKGROUND_RATE, confirm=False)
    with load.begin(background), made.connect() as watch:
        for number in range(gateways, gateways + ROUNDS):
            probe = load.job(
                int(PROBE_RATE * seconds),
                1,
                first=number,
                rate=PROBE_RATE,
                confirm=False,
                start=load.start.isoformat(),
            )
            with load.begin(probe):
                for name, seconds_taken in _changes_of(bench, watch, number):
                    found.setdefault(name, []).append(seconds_taken)
        if not consumer.alive:
            raise LabError("the consumer ended meanwhile")
    for name, times in found.items():
        bench.say(f"{name}: in effect after at most {max(times):.1f} s")
    return found


def _changes_of(bench: Bench, watch: Connection[Any], number: int) -> list[tuple[str, float]]:
    """The changes of one gateway's life, each as soon as the one before is in effect."""
    mac = gateway_mac(number)

    def refused(motivo: str) -> Callable[[], bool]:
        return lambda: _count(watch, REFUSED, mac=mac, motivo=motivo) > 0

    _wait(refused("gateway_desconhecido"))  # its messages are set aside by now
    taken = []
    for name, change, effect in (
        (
            "a new gateway",
            lambda: bench.made.register_fleet(1, first=number),
            lambda: _count(watch, STORED, mac=mac) > 0,
        ),
        (
            "a device deactivated",
            lambda: watch.execute(DEACTIVATE_DEVICE, {"mac": mac}),
            refused("dispositivo_inativo"),
        ),
        (
            "a gateway deactivated",
            lambda: watch.execute(DEACTIVATE_GATEWAY, {"mac": mac}),
            refused("gateway_inativo"),
        ),
    ):
        change()
        taken.append((name, _wait(effect)))
    return taken


def _count(connection: Connection[Any], query: str, **parameters: str) -> int:
    row = connection.execute(query, parameters).fetchone()
    return int(row[0]) if row else 0


def _wait(condition: Callable[[], bool]) -> float:
    """Seconds until ``condition``, looked at every 20 ms. Raises LabError where it does not come."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > TIMEOUT:
            raise LabError(f"a changed registration was not in effect within {TIMEOUT:.0f} s")
        time.sleep(0.02)
    return time.monotonic() - started


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    """The slowest start, statements per message, the slowest change."""
    fleet = f"{found['gateways']:,} gateways and {found['devices']:,} devices"
    slowest = max(max(times) for times in found["changes"].values())
    return [
        at_most(f"start to subscription granted with {fleet}", 5, max(found["starts"]), "s", 1),
        at_most(
            "statements per message (no query for each)", 0.1, found["statements"] / found["messages"], "", 3
        ),
        at_most("until a changed registration is in effect", 5, slowest, "s", 1),
    ]


def section(found: dict[str, Any]) -> list[str]:
    """Starts, statements and changes."""
    starts = ", ".join(f"{seconds:.2f} s" for seconds in found["starts"])
    lines = [
        f"{found['gateways']:,} gateways and {found['devices']:,} devices. Start of the process to subscription granted: {starts}.",
        f"{found['messages']:,} messages, two of each gateway, in {found['batches']:,} batches took the consumer {found['statements']:,}",
        "statements (lines of the server's log_statement), looking up every gateway included: "
        f"{found['statements'] / found['messages']:.3f} a message.",
        "",
        "| from the commit of the change to its effect | "
        + " | ".join(f"{n}" for n in range(1, ROUNDS + 1))
        + " |",
        "|---|" + "---|" * ROUNDS,
    ]
    return lines + [
        f"| {name} | " + " | ".join(f"{seconds:.1f} s" for seconds in times) + " |"
        for name, times in found["changes"].items()
    ]
