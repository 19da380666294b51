"""Many gateways: start, statements per message, changed registrations."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, NamedTuple

from psycopg import Connection

from lab.benchmarks.figures import Requirement, at_most
from lab.benchmarks.ingest_bench import Bench
from lab.benchmarks.load_generator import gateway_mac
from lab.harness.consumer import ConsumerProcess
from lab.harness.errors import LabError
from lab.harness.report import paragraph, table
from lab.harness.waiting import wait_until

STARTS = 3
ROUNDS = 3
PROBE_RATE = 50.0  # messages/s of the gateway whose registration changes
BACKGROUND_RATE = 1_000.0  # messages/s of all others
TIMEOUT_S = 60.0
# Every statement of a session of the consumer is a line of the server's log: counted without an extension.
LOG_STATEMENTS = "ALTER DATABASE {} SET log_statement = 'all'"
LOG_NO_PARAMETERS = "ALTER DATABASE {} SET log_parameter_max_length = 0"
LOG_AS_BEFORE = "ALTER DATABASE {} RESET ALL"

STORED = """
SELECT count(*) FROM tds_new_leitura_dispositivo WHERE dispositivo_id IN (
    SELECT d.id FROM tds_new_dispositivo d JOIN tds_new_gateway g ON g.id = d.gateway_id WHERE g.mac = %(mac)s
)
"""
REJECTED = """
SELECT count(*) FROM tds_new_mensagem_rejeitada
WHERE motivo = %(motivo)s AND topico LIKE '%%/' || %(mac)s || '/telemetry'
"""
DEACTIVATE_DEVICE = """
UPDATE tds_new_dispositivo SET status = 'INATIVO'
WHERE codigo = 'D01' AND gateway_id = (SELECT id FROM tds_new_gateway WHERE mac = %(mac)s)
"""
DEACTIVATE_GATEWAY = "UPDATE tds_new_gateway SET is_active = false WHERE mac = %(mac)s"


@dataclass(frozen=True)
class Registry:
    """The figures of the part; times in seconds.

    ``changes`` has for each kind of change the times from its commit to its first effect.
    """

    gateways: int
    devices: int
    starts: list[float]
    messages: int
    batches: int
    statements: int
    changes: dict[str, list[float]]


class Statements(NamedTuple):
    """The consumer's statements, and the messages and batches that took them."""

    messages: int
    batches: int
    statements: int


class Change(NamedTuple):
    """A change of a registration.

    ``make`` makes it; ``is_in_effect`` tells whether it is in effect.
    """

    name: str
    make: Callable[[], object]
    is_in_effect: Callable[[], bool]


def measure(bench: Bench) -> Registry:
    """Register the fleet and measure the consumer with it.

    The consumer is started some times, gets messages of every gateway, and then changed registrations.
    """
    environment, gateways = bench.environment, bench.sizes.registered
    environment.register_fleet(gateways)
    environment.register_fleet(bench.sizes.gateways)
    registered, devices = (
        environment.scalar(f"SELECT count(*) FROM tds_new_{name}") for name in ("gateway", "dispositivo")
    )
    bench.say(f"{registered:,} gateways and {devices:,} devices registered")
    starts = []
    for _ in range(STARTS):
        consumer = environment.start_consumer()
        starts.append(consumer.wait_until_subscribed())
        consumer.stop()
    bench.say("started and subscribed in " + ", ".join(f"{seconds:.2f} s" for seconds in starts))
    counted = _count_statements(bench)
    bench.say(
        f"{counted.statements:,} statements for {counted.messages:,} messages of {gateways:,} gateways "
        f"in {counted.batches:,} batches"
    )
    with environment.consumer() as consumer:
        changes = _measure_changes(bench, consumer)
    return Registry(registered, devices, starts, *counted, changes)


def _count_statements(bench: Bench) -> Statements:
    """Send two messages of each gateway and count the consumer's statements."""
    environment, gateways = bench.environment, bench.sizes.registered
    messages = 2 * gateways
    with environment.connect() as connection:
        connection.execute(LOG_STATEMENTS.format(environment.database))
        connection.execute(LOG_NO_PARAMETERS.format(environment.database))
    try:
        with environment.consumer() as consumer:
            position, before = environment.log_size(), consumer.metric("tds_batches_total")
            bench.load.publish(bench.load.job(messages, gateways))
            lines = environment.logged_since(position)
            batches = consumer.metric("tds_batches_total") - before
    finally:
        with environment.connect() as connection:
            connection.execute(LOG_AS_BEFORE.format(environment.database))
    statements = sum(" tds_new_consumer " in line and " LOG:  " in line for line in lines)
    return Statements(messages, int(batches), statements)


def _measure_changes(bench: Bench, consumer: ConsumerProcess) -> dict[str, list[float]]:
    """Change registrations of gateways that send, while all others send too.

    Seconds by kind of change.
    """
    environment, load, gateways = bench.environment, bench.load, bench.sizes.registered
    found: dict[str, list[float]] = {}
    seconds = ROUNDS * 3 * TIMEOUT_S
    background = load.job(int(BACKGROUND_RATE * seconds), gateways, rate=BACKGROUND_RATE, confirm=False)
    with load.begin(background), environment.connect() as watch:
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
                for name, taken in _change_gateway(bench, watch, number):
                    found.setdefault(name, []).append(taken)
        if not consumer.alive:
            raise LabError("the consumer ended meanwhile")
    for name, times in found.items():
        bench.say(f"{name}: in effect after at most {max(times):.1f} s")
    return found


def _change_gateway(bench: Bench, watch: Connection[Any], number: int) -> list[tuple[str, float]]:
    """Make the changes of one gateway, each as soon as the one before is in effect.

    Their names and seconds.
    """
    parameters = {"mac": gateway_mac(number)}

    def rejected(motivo: str) -> Callable[[], bool]:
        return lambda: _count(watch, REJECTED, motivo=motivo, **parameters) > 0

    changes = (
        Change(
            "a new gateway",
            lambda: bench.environment.register_fleet(1, first=number),
            lambda: _count(watch, STORED, **parameters) > 0,
        ),
        Change(
            "a device deactivated",
            lambda: watch.execute(DEACTIVATE_DEVICE, parameters),
            rejected("dispositivo_inativo"),
        ),
        Change(
            "a gateway deactivated",
            lambda: watch.execute(DEACTIVATE_GATEWAY, parameters),
            rejected("gateway_inativo"),
        ),
    )
    _wait(rejected("gateway_desconhecido"))  # its messages arrive and are rejected by now
    taken = []
    for change in changes:
        change.make()
        taken.append((change.name, _wait(change.is_in_effect)))
    return taken


def _count(connection: Connection[Any], query: str, **parameters: str) -> int:
    row = connection.execute(query, parameters).fetchone()
    return int(row[0]) if row else 0


def _wait(condition: Callable[[], bool]) -> float:
    """Return the seconds until ``condition`` is true.

    Raises LabError if it does not become so.
    """
    started = monotonic()
    wait_until(condition, "a changed registration is in effect", TIMEOUT_S)
    return monotonic() - started


def requirements(figures: dict[str, Any]) -> list[Requirement]:
    """Require bounds of the start, of statements and of changes."""
    fleet = f"{figures['gateways']:,} gateways and {figures['devices']:,} devices"
    per_message = figures["statements"] / figures["messages"]
    slowest = max(max(times) for times in figures["changes"].values())
    return [
        at_most(f"start to subscription granted with {fleet}", 5, max(figures["starts"]), "s", 1),
        at_most("statements per message (no query for each)", 0.1, per_message, "", 3),
        at_most("until a changed registration is in effect", 5, slowest, "s", 1),
    ]


def section(figures: dict[str, Any]) -> list[str]:
    """Describe starts, statements and changes."""
    starts = ", ".join(f"{seconds:.2f} s" for seconds in figures["starts"])
    rounds = [str(number) for number in range(1, ROUNDS + 1)]
    cells = [(name, *(f"{seconds:.1f} s" for seconds in times)) for name, times in figures["changes"].items()]
    return [
        *paragraph(
            f"{figures['gateways']:,} gateways and {figures['devices']:,} devices. Start of the process to",
            f"subscription granted: {starts}. {figures['messages']:,} messages, two of each gateway, in",
            f"{figures['batches']:,} batches took the consumer {figures['statements']:,} statements (lines",
            "of the server's log_statement), looking up every gateway included:",
            f"{figures['statements'] / figures['messages']:.3f} a message.",
        ),
        "",
        *table(("from the commit of the change to its effect", *rounds), cells),
    ]
