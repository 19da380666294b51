"""An attack: a gateway's messages cost much, beside hundreds that behave.

Every message has 60 kB. In three forms it has 30,000 bad readings: sent once, retained at the broker, and
delivered again because the consumer died. In the fourth the gateway goes on and on, with as many bad
readings as a message may have, of several kinds.
"""

import selectors
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings

from lab.benchmarks.figures import Percentiles, Requirement, at_most, distributions, nothing
from lab.benchmarks.ingest_bench import Bench
from lab.benchmarks.load import Published
from lab.benchmarks.load_generator import Job, gateway_mac
from lab.harness import wire
from lab.harness.environment import ADMIN
from lab.harness.publisher import Connection
from lab.harness.report import paragraph, table
from lab.harness.waiting import wait_until
from tds_new.embedded.ports import LOOPBACK

SIZE = 60_000  # bytes of a message
RATE = 1.0  # messages/s of each gateway that behaves
LEAD_S = 1.0  # the others send for so long before the attack
PUBLISH_TIMEOUT_S = 60.0
SETTLE_TIMEOUT_S = 300.0
SUSTAINED_RATE = 100  # messages/s of the attack that goes on

COUNTED = """
SELECT c.motivo, sum(c.total)::bigint FROM tds_new_rejeicao_contador c
JOIN tds_new_gateway g ON g.id = c.gateway_id WHERE g.mac = ANY(%s) GROUP BY 1 ORDER BY 2 DESC
"""
REACHED = """
SELECT count(DISTINCT c.gateway_id) FROM tds_new_rejeicao_contador c
JOIN tds_new_gateway g ON g.id = c.gateway_id WHERE g.mac = ANY(%s)
"""


@dataclass(frozen=True)
class Attack:
    """The outcome of one form of the attack.

    ``others`` is their publish to commit and back; ``rejected`` has the counts of the attackers' rejections
    by reason; ``missing`` counts messages of the others that were not answered.
    """

    form: str
    messages: int
    others: dict[str, Any]
    rejected: dict[str, int]
    missing: int


def hostile_payload(number: int) -> bytes:
    """Return 30,000 bad readings."""
    head = f'{{"n": {number}, "leituras": ['.encode()
    return head + b"1," * ((SIZE - len(head)) // 2 - 2) + b"1]}"


def varied_payload(number: int) -> bytes:
    """Return bad readings of several kinds, as many as there is room for."""
    kinds = (
        '{"dispositivo_codigo":"D99","valor":1}',
        '{"dispositivo_codigo":"D01","valor":"x"}',
        '{"dispositivo_codigo":"D01","valor":1,"unidade":"m"}',
        '{"dispositivo_codigo":"D01","valor":1,"timestamp":"x"}',
        "1",
    )
    head = f'{{"n": {number}, "timestamp": "2026-01-01T00:00:00Z", "leituras": ['
    room = (SIZE - len(head)) // (len(",".join(kinds)) + 1)
    return (head + ",".join([",".join(kinds)] * room) + "]}").encode()


class Attackers:
    """The gateways that attack: those after the ones that behave."""

    def __init__(self, bench: Bench) -> None:
        self._environment = bench.environment
        self.macs = [gateway_mac(bench.sizes.gateways + number) for number in range(bench.sizes.attack)]

    def packets(
        self, payloads: Sequence[bytes], *, many: bool = False, retain: bool = False
    ) -> Iterator[bytes]:
        """Yield a PUBLISH for each payload: of the first gateway, or each of another one."""
        for number, content in enumerate(payloads):
            topic = f"{settings.MQTT_TOPIC_PREFIX}/{self.macs[number if many else 0]}/telemetry"
            yield wire.publish(topic, content, number % 65_535 + 1, retain=retain)

    def publish(
        self, packets: Iterator[bytes], rate: float = 0.0, stop: threading.Event | None = None
    ) -> int:
        """Publish until the broker has acknowledged everything, or until ``stop``.

        ``rate`` is in messages/s, 0 for as fast as the broker takes them. Return how many there were.
        """
        connection = Connection(
            (LOOPBACK, self._environment.broker.port),
            f"attack-{time.time_ns()}",
            (ADMIN, self._environment.admin_secret),
        )
        try:
            return _publish(connection, packets, rate, stop or threading.Event())
        finally:
            connection.close()

    def rejected(self) -> dict[str, int]:
        """Return the counts of their rejections by reason."""
        with self._environment.connect() as session:
            return dict(session.execute(COUNTED, [self.macs]).fetchall())

    def all_were_heard(self) -> bool:
        """Whether something of each was rejected."""
        return self._environment.scalar(REACHED, self.macs) == len(self.macs)


def _publish(connection: Connection, packets: Iterator[bytes], rate: float, stop: threading.Event) -> int:
    started, sent, acknowledged, more = time.monotonic(), 0, 0, True
    selector = selectors.DefaultSelector()
    selector.register(connection.socket, selectors.EVENT_READ)
    with selector:
        while (more or acknowledged < sent) and time.monotonic() - started < PUBLISH_TIMEOUT_S:
            if more and not connection.output and (not rate or sent <= (time.monotonic() - started) * rate):
                content = None if stop.is_set() else next(packets, None)
                more = content is not None
                sent += more
                connection.output = content or b""
            connection.flush()
            if selector.select(0 if connection.output or (more and not rate) else 0.005):
                acknowledged += len(connection.receive().packet_ids)
    return sent


def measure(bench: Bench) -> list[Attack]:
    """Measure the others' messages beside each form of the attack.

    Raises LabError if a message of the others is not answered.
    """
    sizes = bench.sizes
    bench.environment.register_fleet(sizes.gateways + sizes.attack)
    attackers = Attackers(bench)
    forms: dict[str, Callable[[Bench, Attackers, Job], tuple[int, Published]]] = {
        "fresh": _fresh,
        "retained": _retained,
        "redelivered": _redelivered,
        "going on": _going_on,
    }
    attacks = []
    for form, attack in forms.items():
        before, job = attackers.rejected(), _others(bench)
        messages, published = attack(bench, attackers, job)
        others = asdict(Percentiles.of(published.latencies))
        counts = {reason: n - before.get(reason, 0) for reason, n in attackers.rejected().items()}
        rejected = {reason: n for reason, n in counts.items() if n}
        bench.say(f"{form}: p50 {others['p50']:.1f} ms, p99 {others['p99']:.1f} ms; {rejected}")
        attacks.append(Attack(form, messages, others, rejected, job.messages - len(published.latencies)))
    return attacks


def _others(bench: Bench) -> Job:
    gateways = bench.sizes.gateways
    messages = max(1, int(RATE * gateways * bench.sizes.attack_seconds))
    return bench.load.job(messages, gateways, rate=RATE * gateways, sample=1, timeout=SETTLE_TIMEOUT_S)


def _payloads(bench: Bench, first: int = 0) -> list[bytes]:
    """Return the attackers' messages, numbered from ``first``.

    None of them may be known already.
    """
    return [hostile_payload(first + number) for number in range(bench.sizes.attack)]


def _fresh(bench: Bench, attackers: Attackers, job: Job) -> tuple[int, Published]:
    """Have one gateway send its messages at once."""
    with bench.environment.consumer(), bench.load.begin(job) as publication:
        time.sleep(LEAD_S)
        sent = attackers.publish(attackers.packets(_payloads(bench)))
        return sent, publication.result()


def _retained(bench: Bench, attackers: Attackers, job: Job) -> tuple[int, Published]:
    """Have the broker hand over a retained message of each attacker.

    It does so when the consumer subscribes.
    """
    with bench.environment.consumer():
        sent = attackers.publish(attackers.packets(_payloads(bench), many=True, retain=True))
        wait_until(attackers.all_were_heard, lambda: "the retained messages", SETTLE_TIMEOUT_S)
    with bench.environment.consumer(), bench.load.begin(job) as publication:
        others = publication.result()
        attackers.publish(attackers.packets([b""] * sent, many=True, retain=True))  # they are gone
    return sent, others


def _redelivered(bench: Bench, attackers: Attackers, job: Job) -> tuple[int, Published]:
    """Have the broker deliver again what a consumer had not acknowledged when it died."""
    consumer = bench.environment.start_consumer()
    consumer.wait_until_subscribed()
    consumer.send_signal(signal.SIGSTOP)
    sent = attackers.publish(attackers.packets(_payloads(bench, bench.sizes.attack)))
    consumer.kill()
    with bench.environment.consumer(), bench.load.begin(job) as publication:
        return sent, publication.result()


def _going_on(bench: Bench, attackers: Attackers, job: Job) -> tuple[int, Published]:
    """Have one gateway send as long as the others do."""
    stop, sent = threading.Event(), 0
    payloads = [varied_payload(number) for number in range(int(SUSTAINED_RATE * PUBLISH_TIMEOUT_S))]

    def attack() -> None:
        nonlocal sent
        sent = attackers.publish(attackers.packets(payloads), SUSTAINED_RATE, stop)

    with bench.environment.consumer(), bench.load.begin(job) as publication:
        time.sleep(LEAD_S)
        thread = threading.Thread(target=attack)
        thread.start()
        others = publication.result()
        stop.set()
        thread.join()
    return sent, others


def requirements(attacks: Sequence[dict[str, Any]]) -> list[Requirement]:
    """Require a bound of the others' time beside each form.

    Nothing of theirs may be lost.
    """
    return [
        *[
            at_most(
                f"publish to commit beside an attack, {one['form']}, p99",
                1_000,
                one["others"]["p99"],
                "ms",
                1,
            )
            for one in attacks
        ],
        nothing("of the others' messages without an answer", sum(one["missing"] for one in attacks)),
    ]


def section(attacks: Sequence[dict[str, Any]]) -> list[str]:
    """Describe the distributions, and the outcome of each form.

    An older report may have no attack.
    """
    if not attacks:
        return []
    rows = [
        (one["form"], f"{one['messages']:,}", ", ".join(f"{k} {n:,}" for k, n in one["rejected"].items()))
        for one in attacks
    ]
    return [
        *paragraph(
            "The same gateways beside an attack: messages of 60 kB with 30,000 bad readings each,",
            "fresh of one gateway, retained of one gateway each, and redelivered after a kill -9 of the",
            f"consumer; and one gateway that goes on, {SUSTAINED_RATE}/s with bad readings of several kinds,",
            "as many as there is room for.",
        ),
        "",
        *distributions(
            "publish to commit and back of the others", [(one["form"], one["others"]) for one in attacks]
        ),
        "",
        *table(("the attack", "messages", "rejected"), rows),
    ]
