"""One gateway floods, hundreds send as they should: how long theirs take, and what becomes of the flood."""

import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from lab.benchmarks.figures import Percentiles, Verdict, at_most, nothing
from lab.benchmarks.ingest_bench import Bench
from lab.benchmarks.latency import cells
from lab.benchmarks.publisher import gateway_mac
from lab.harness.errors import LabError

RATE = 1.0  # messages/s of each gateway that behaves
FLOOD_BEGINS = timedelta(
    days=30
)  # its readings' times, so long ago: one second each, they would reach into the future
SETTLE_TIMEOUT = 300.0

READINGS_OF = """
SELECT count(*) FROM tds_new_leitura_dispositivo l JOIN tds_new_gateway g ON g.id = l.gateway_id
WHERE g.mac = ANY(%s) AND l.time >= %s AND l.time < %s
"""
REFUSALS_OF = """
SELECT sum(c.total) FROM tds_new_rejeicao_contador c LEFT JOIN tds_new_gateway g ON g.id = c.gateway_id
WHERE (g.mac IS NOT DISTINCT FROM %s) = %s AND c.motivo LIKE %s
"""
KEPT = "SELECT count(*) FROM tds_new_mensagem_rejeitada WHERE motivo = 'limite_excedido'"


@dataclass(frozen=True)
class Fairness:
    """What the part found. ``quiet`` and ``flooded`` are the others' publish to commit and back, without the flood and under it.

    ``limited`` is what the table of counters has of the flood's messages, ``metric`` what Prometheus has, ``logged`` the last line.
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
    others_set_aside: int


def measure(bench: Bench) -> Fairness:
    """The others alone for a third of the time, then beside the flood. Raises LabError where messages do not all turn up."""
    made, load, sizes = bench.made, bench.load, bench.sizes
    flooder, limit = gateway_mac(sizes.gateways), int(made.variables["TDS_GATEWAY_RATE"])
    made.register_fleet(sizes.gateways + 1)
    calm = load.job(
        max(sizes.gateways, int(RATE * sizes.gateways * sizes.fairness_seconds / 3)),
        sizes.gateways,
        rate=RATE * sizes.gateways,
        sample=1,
        timeout=SETTLE_TIMEOUT,
    )
    others = load.job(
        max(1, int(RATE * sizes.gateways * sizes.fairness_seconds)),
        sizes.gateways,
        rate=RATE * sizes.gateways,
        sample=1,
        timeout=SETTLE_TIMEOUT,
    )
    begin = load.start - FLOOD_BEGINS
    flood = load.job(
        int(sizes.flood * sizes.fairness_seconds),
        1,
        first=sizes.gateways,
        rate=sizes.flood,
        confirm=False,
        start=begin.isoformat(),
    )
    counted = [
        made.scalar(REFUSALS_OF, flooder, True, "limite_excedido"),
        made.scalar(REFUSALS_OF, flooder, False, "%"),
    ]
    with made.consumer() as consumer:
        quiet = Percentiles.of(load.publish(calm).latencies)
        bench.say(
            f"{sizes.gateways} gateways alone: p50 {quiet.p50:.1f} ms, p99 {quiet.p99:.1f} ms; now the flood"
        )
        with load.begin(flood) as flooding, load.begin(others) as publication:
            flooded = Percentiles.of(publication.result().latencies)
            flooding.result()
        end = begin + timedelta(seconds=flood.messages)
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while True:
            stored = made.scalar(READINGS_OF, [flooder], begin, end) // 3
            limited = made.scalar(REFUSALS_OF, flooder, True, "limite_excedido") - counted[0]
            metric = int(consumer.metric('tds_rejected_total{reason="limite_excedido"}'))
            if stored + limited >= flood.messages and metric >= limited:
                break
            if time.monotonic() > deadline:
                raise LabError(
                    f"of {flood.messages} messages of the flood {stored} are stored and {limited} set aside"
                )
            time.sleep(0.1)
    logged = (consumer.log_lines("limite_excedido") or [""])[-1]
    aside = made.scalar(REFUSALS_OF, flooder, False, "%") - counted[1]
    theirs = (
        made.scalar(
            READINGS_OF, [gateway_mac(number) for number in range(sizes.gateways)], others.start, "infinity"
        )
        // 3
    )
    bench.say(
        f"under the flood: p50 {flooded.p50:.1f} ms, p99 {flooded.p99:.1f} ms; {limited:,} of {flood.messages:,} limited"
    )
    return Fairness(
        sizes.gateways, sizes.flood, sizes.fairness_seconds, limit, asdict(quiet), asdict(flooded), flood.messages, stored, limited, metric,
        made.scalar(KEPT), logged[-300:], others.messages, theirs, aside,
    )  # fmt: skip


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    """The others' time, and that theirs are all there."""
    what = f"publish to commit of {found['gateways']:,} gateways at 1/s, one more at {found['flood_rate']:,.0f}/s, p99"
    return [
        at_most(what, 1_000, found["flooded"]["p99"], "ms", 1),
        nothing(
            "of their messages missing or set aside",
            found["others_published"] - found["others_stored"] + found["others_set_aside"],
        ),
    ]


def section(found: dict[str, Any]) -> list[str]:
    """Both distributions, and the flood's fate with the places where it shows."""
    published, limited = found["flood_published"], found["limited"]
    return [
        f"{found['gateways']:,} gateways at 1 message/s, one at {found['flood_rate']:,.0f}/s for {found['seconds']:g} s;"
        f" TDS_GATEWAY_RATE {found['limit']:,} (a burst of a minute's worth).",
        "",
        "| publish to commit and back of the others | samples | p50 | p95 | p99 | worst |",
        "|---|---|---|---|---|---|",
        f"| without the flood {cells(found['quiet'])}",
        f"| beside the flood {cells(found['flooded'])}",
        "",
        f"Of the flood's {published:,} messages {found['flood_stored']:,} were stored; {limited:,} ({100 * limited / published:.0f} %)",
        f"were over the limit and set aside (limite_excedido), {found['kept']:,} of them kept. It shows in the admin's counters",
        f"of refusals (tds_new_rejeicao_contador: {limited:,}), in Prometheus (tds_rejected_total: {found['metric']:,}) and in the log:",
        "",
        f"    {found['logged']}",
        "",
        f"Of the others' {found['others_published']:,} messages {found['others_stored']:,} were stored and",
        f"{found['others_set_aside']:,} set aside.",
    ]
