"""Fairness: one gateway floods while hundreds send as they should.

The part measures how long the others' messages take, and the outcome of the flood; then the same beside
messages that cost much (:mod:`lab.benchmarks.attack`).
"""

import time
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any, NamedTuple

from lab.benchmarks import attack
from lab.benchmarks.environment import BenchmarkEnvironment
from lab.benchmarks.figures import Percentiles, Requirement, at_most, distributions, nothing
from lab.benchmarks.ingest_bench import Bench
from lab.benchmarks.load_generator import Job, gateway_mac
from lab.harness.consumer import ConsumerProcess
from lab.harness.errors import LabError
from lab.harness.report import paragraph

RATE = 1.0  # messages/s of each gateway that behaves
# The flood's readings begin so long ago: one second each, they would reach into the future.
FLOOD_BEGINS = timedelta(days=30)
SETTLE_TIMEOUT_S = 300.0

READINGS_OF = """
SELECT count(*) FROM tds_new_leitura_dispositivo l JOIN tds_new_gateway g ON g.id = l.gateway_id
WHERE g.mac = ANY(%s) AND l.time >= %s AND l.time < %s
"""
# Rejections of one gateway (true) or of all others (false), by the pattern of their reason.
REJECTIONS_OF = """
SELECT sum(c.total) FROM tds_new_rejeicao_contador c LEFT JOIN tds_new_gateway g ON g.id = c.gateway_id
WHERE (g.mac IS NOT DISTINCT FROM %s) = %s AND c.motivo LIKE %s
"""
KEPT = "SELECT count(*) FROM tds_new_mensagem_rejeitada WHERE motivo = 'limite_excedido'"


@dataclass(frozen=True)
class Fairness:
    """The figures of the part.

    ``quiet`` and ``flooded`` are the others' publish to commit and back, without the flood and under it.
    ``limited`` is what the table of counters has of the flood's messages, ``metric`` what Prometheus has,
    ``logged`` the last line of the log.
    """

    gateways: int
    flood_rate: float
    seconds: float
    limit: int
    quiet: dict[str, Any]
    flooded: dict[str, Any]
    flood_published: int
    flood_stored: int
    limited: int
    metric: int
    kept: int
    logged: str
    others_published: int
    others_stored: int
    others_rejected: int
    attacks: list[attack.Attack] = field(default_factory=list)


class FloodOutcome(NamedTuple):
    """The outcome of the flood.

    Messages stored, limited by the table of counters, and limited by Prometheus.
    """

    stored: int
    limited: int
    metric: int


class Rejections:
    """Counts rejections of the gateway that floods, and of all others.

    It counts from its own start.
    """

    def __init__(self, environment: BenchmarkEnvironment, flooder: str) -> None:
        self._environment, self._flooder = environment, flooder
        self._limited_before, self._others_before = (
            self._count(True, "limite_excedido"),
            self._count(False, "%"),
        )

    def _count(self, of_flooder: bool, reason: str) -> int:
        return self._environment.scalar(REJECTIONS_OF, self._flooder, of_flooder, reason)

    def limited(self) -> int:
        """Return how many messages of the flood were over the limit."""
        return self._count(True, "limite_excedido") - self._limited_before

    def of_others(self) -> int:
        """Return how many rejections the others have, for any reason."""
        return self._count(False, "%") - self._others_before


def measure(bench: Bench) -> Fairness:
    """Measure the others beside the flood, and then beside an attack.

    Raises LabError if messages do not all turn up.
    """
    found = _measure_flood(bench)
    return replace(found, attacks=attack.measure(bench))


def _measure_flood(bench: Bench) -> Fairness:
    """Measure the others alone for a third of the time, then beside the flood.

    Raises LabError if messages do not all turn up.
    """
    environment, load, sizes = bench.environment, bench.load, bench.sizes
    flooder, limit = gateway_mac(sizes.gateways), int(environment.variables["TDS_GATEWAY_RATE"])
    environment.register_fleet(sizes.gateways + 1)
    rejections = Rejections(environment, flooder)
    calm = _job_of_others(bench, max(sizes.gateways, int(RATE * sizes.gateways * sizes.fairness_seconds / 3)))
    others = _job_of_others(bench, max(1, int(RATE * sizes.gateways * sizes.fairness_seconds)))
    flood = load.job(
        int(sizes.flood * sizes.fairness_seconds),
        1,
        first=sizes.gateways,
        rate=sizes.flood,
        confirm=False,
        start=(load.start - FLOOD_BEGINS).isoformat(),
    )
    with environment.consumer() as consumer:
        quiet = Percentiles.of(load.publish(calm).latencies)
        bench.say(
            f"{sizes.gateways} gateways alone: p50 {quiet.p50:.1f} ms, p99 {quiet.p99:.1f} ms; now the flood"
        )
        with load.begin(flood) as flooding, load.begin(others) as publication:
            flooded = Percentiles.of(publication.result().latencies)
            flooding.result()
        outcome = _wait_for_flood(bench, consumer, flood, rejections)
    logged = (consumer.log_lines("limite_excedido") or [""])[-1]
    macs = [gateway_mac(number) for number in range(sizes.gateways)]
    bench.say(
        f"under the flood: p50 {flooded.p50:.1f} ms, p99 {flooded.p99:.1f} ms; "
        f"{outcome.limited:,} of {flood.messages:,} limited"
    )
    return Fairness(
        gateways=sizes.gateways,
        flood_rate=sizes.flood,
        seconds=sizes.fairness_seconds,
        limit=limit,
        quiet=asdict(quiet),
        flooded=asdict(flooded),
        flood_published=flood.messages,
        flood_stored=outcome.stored,
        limited=outcome.limited,
        metric=outcome.metric,
        kept=environment.scalar(KEPT),
        logged=logged[-300:],
        others_published=others.messages,
        others_stored=environment.scalar(READINGS_OF, macs, others.start, "infinity") // 3,
        others_rejected=rejections.of_others(),
    )


def _job_of_others(bench: Bench, messages: int) -> Job:
    gateways = bench.sizes.gateways
    return bench.load.job(messages, gateways, rate=RATE * gateways, sample=1, timeout=SETTLE_TIMEOUT_S)


def _wait_for_flood(
    bench: Bench, consumer: ConsumerProcess, flood: Job, rejections: Rejections
) -> FloodOutcome:
    """Wait until every message of the flood is stored or counted as limited.

    Raises LabError if one is missing.
    """
    begin = bench.load.start - FLOOD_BEGINS
    end = begin + timedelta(seconds=flood.messages)
    mac = gateway_mac(flood.first)
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        outcome = FloodOutcome(
            stored=bench.environment.scalar(READINGS_OF, [mac], begin, end) // 3,
            limited=rejections.limited(),
            metric=int(consumer.metric('tds_rejected_total{reason="limite_excedido"}')),
        )
        if outcome.stored + outcome.limited >= flood.messages and outcome.metric >= outcome.limited:
            return outcome
        if time.monotonic() > deadline:
            raise LabError(
                f"of {flood.messages} messages of the flood {outcome.stored} are stored "
                f"and {outcome.limited} rejected"
            )
        time.sleep(0.1)


def requirements(figures: dict[str, Any]) -> list[Requirement]:
    """Require a bound of the others' time, and that their messages are all there."""
    flood = f"one more at {figures['flood_rate']:,.0f}/s"
    what = f"publish to commit of {figures['gateways']:,} gateways at 1/s, {flood}, p99"
    lost = figures["others_published"] - figures["others_stored"] + figures["others_rejected"]
    return [
        at_most(what, 1_000, figures["flooded"]["p99"], "ms", 1),
        nothing("of their messages missing or rejected", lost),
        *attack.requirements(figures.get("attacks", [])),
    ]


def section(figures: dict[str, Any]) -> list[str]:
    """Describe both distributions, and the outcome of the flood."""
    published, limited = figures["flood_published"], figures["limited"]
    return [
        *paragraph(
            f"{figures['gateways']:,} gateways at 1 message/s, one at {figures['flood_rate']:,.0f}/s for",
            f"{figures['seconds']:g} s; TDS_GATEWAY_RATE {figures['limit']:,} (a burst of a minute's worth).",
        ),
        "",
        *distributions(
            "publish to commit and back of the others",
            [("without the flood", figures["quiet"]), ("beside the flood", figures["flooded"])],
        ),
        "",
        *paragraph(
            f"Of the flood's {published:,} messages {figures['flood_stored']:,} were stored; {limited:,}",
            f"({100 * limited / published:.0f} %) were over the limit and rejected (limite_excedido),",
            f"{figures['kept']:,} of them kept. It shows in the admin's counters of rejections",
            f"(tds_new_rejeicao_contador: {limited:,}), in Prometheus (tds_rejected_total:",
            f"{figures['metric']:,}) and in the log:",
        ),
        "",
        f"    {figures['logged']}",
        "",
        *paragraph(
            f"Of the others' {figures['others_published']:,} messages {figures['others_stored']:,}",
            f"were stored and {figures['others_rejected']:,} rejected.",
        ),
        "",
        *attack.section(figures.get("attacks", [])),
    ]
