"""The ingestion benchmark: each part at a tiny size, and its command."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from lab.benchmarks import fairness, growth, history, hostile, latency, outage, rate, registry
from lab.benchmarks.environment import BenchmarkEnvironment
from lab.benchmarks.figures import Percentiles, Requirement, at_least, at_most, nothing, percentile
from lab.benchmarks.ingest import HEAD, PARTS
from lab.benchmarks.ingest_bench import Bench, Sizes
from lab.benchmarks.load import Load, live_day
from lab.benchmarks.load_generator import gateway_mac
from lab.benchmarks.report import failed, markdown, measure, merged
from lab.harness.errors import LabError
from tds_new.embedded.mosquitto import find_mosquitto
from tds_new.ingestion.rate import BURST_SECONDS, Limits
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.models import Dispositivo, Gateway, RejeicaoContador
from tds_new.storage.session import connect
from tests.support.ingestion import PREFIX, World, message, reading, stored, telemetry, world
from tests.support.waiting import until

__all__ = ["world"]

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto 2 is not installed")
TINY = Sizes(
    messages=600,
    runs=1,
    gateways=20,
    rates=(200,),
    seconds=0.5,
    rows=20_000,
    registered=200,
    outage=0.5,
    outage_rate=200,
    flood=400,
    fairness_seconds=1.5,
    attack=4,
    attack_seconds=3,
    hostile_seconds=2,
)


# --- figures ------------------------------------------------------------------------------------------------


def test_percentiles_are_values_that_were_measured() -> None:
    values = [number / 1000 for number in range(1, 101)]
    assert Percentiles.of(values) == Percentiles(100, 50.0, 95.0, 99.0, 100.0)
    assert [percentile([7.0], share) for share in (0.0, 0.5, 1.0)] == [7.0] * 3
    assert percentile([], 0.5) == 0


def test_a_limit_is_met_at_the_limit_and_not_beyond() -> None:
    assert [at_most("", 5, value, "s").met for value in (5, 5.01)] == [True, False]
    assert [at_least("", 0.9, value).met for value in (0.9, 0.899)] == [True, False]
    assert [nothing("", value).met for value in (0, 1)] == [True, False]


@pytest.mark.parametrize(
    "now", [datetime(2026, 11, 21, 14, 30, tzinfo=UTC), datetime(2026, 11, 19, tzinfo=UTC)]
)
def test_the_load_falls_into_the_last_day_of_a_full_week(now: datetime) -> None:
    start = live_day(now)
    assert start.weekday() == 2  # chunks begin on Thursdays, as 1970 did
    assert timedelta(days=1) <= now - start < timedelta(days=8)


# --- each part, for real ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment(request: pytest.FixtureRequest) -> Iterator[BenchmarkEnvironment]:
    """One set of servers for all parts.

    Registrations are looked up for each batch, so that changes count at once.
    """
    with BenchmarkEnvironment(request.config.option.database, {"TDS_REGISTRY_MAX_AGE_S": "0"}) as servers:
        yield servers
    assert not servers.directory.exists()


@pytest.fixture(scope="module")
def bench(environment: BenchmarkEnvironment) -> Bench:
    return Bench(environment, TINY, print)


def _report(name: str, found: Any) -> str:
    """The part's section, through JSON as in a report."""
    plain = json.loads(json.dumps(asdict(found)))
    assert PARTS[name].requirements(plain) or name == "latency"
    text = "\n".join(PARTS[name].section(plain))
    assert text.isascii()
    return text


@needs_mosquitto
def test_the_rate_is_that_of_both(bench: Bench) -> None:
    found = rate.measure(bench)
    assert [pair.ratio for pair in found.runs] == [
        pytest.approx(pair.consumer / pair.mosquitto_sub) for pair in found.runs
    ]
    assert found.peak_memory > 10
    assert f"{found.median.consumer:,.0f}" in _report("rate", found)


@needs_mosquitto
def test_a_reading_that_is_missing_fails_the_run(bench: Bench) -> None:
    bench.environment.register_fleet(20)
    with bench.environment.consumer(), pytest.raises(LabError, match="readings stored of"):
        rate.consumer_rate(bench.environment, _Doubled(bench.load), 40, 20)


class _Doubled(Load):
    """Sends the same readings twice under other numbers.

    So half of what is published is not stored.
    """

    def __init__(self, load: Load) -> None:
        self._load = load

    def job(self, messages: int, gateways: int, **changes: Any) -> Any:
        start = self._load.job(messages, gateways, **changes).start
        self._load.publish(self._load.job(messages // 2, gateways, start=start))
        job = self._load.job(messages // 2, gateways, start=start)
        return replace(job, start=start)


@needs_mosquitto
def test_latency_has_a_sample_of_each_rate(bench: Bench) -> None:
    found = latency.measure(bench)
    assert [(line["rate"], line["samples"]) for line in found.rates] == [(200, 100)]
    assert 0 < found.rates[0]["p50"] <= found.rates[0]["p99"] <= found.rates[0]["worst"]
    assert "200 messages/s" in _report("latency", found)


@needs_mosquitto
def test_growth_compares_a_table_with_rows_and_one_without(
    bench: Bench, on_timescale: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "HISTORY_DAYS", 70)
    found = growth.measure(bench)
    assert found.rows >= TINY.rows
    assert len(found.empty) == len(found.grown) == TINY.runs
    warm, run = TINY.messages // 20, TINY.messages
    assert (
        bench.environment.scalar("SELECT count(*) FROM tds_new_leitura_dispositivo")
        == 3 * (warm + run) * TINY.runs
    )
    assert (
        bench.environment.scalar("SELECT count(*) FROM tds_new_leitura_dispositivo", database="grown")
        == found.rows + 3 * (warm + run) * TINY.runs
    )
    if on_timescale:  # as shipped: all chunks that ended 45 days ago
        old = (
            bench.load.start - timedelta(days=history.HISTORY_DAYS),
            datetime.now(UTC) - timedelta(days=45 + 7),
        )
        assert (old[1] - old[0]).days // 7 <= found.compressed < found.chunks
    assert "ratio" in _report("growth", found)


@needs_mosquitto
def test_a_fleet_costs_few_statements_and_changes_count(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "ROUNDS", 1)
    monkeypatch.setattr(registry, "STARTS", 1)
    monkeypatch.setattr(registry, "BACKGROUND_RATE", 100.0)
    found = registry.measure(bench)
    assert (found.gateways, found.devices) == (TINY.registered, 3 * TINY.registered)
    assert 0 < found.batches <= found.messages == 2 * TINY.registered
    assert found.batches <= found.statements  # counted at all
    assert {name: len(times) for name, times in found.changes.items()} == {
        "a new gateway": 1,
        "a device deactivated": 1,
        "a gateway deactivated": 1,
    }
    assert "statements" in _report("registry", found)


@needs_mosquitto
def test_an_outage_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "BEFORE", 1.0)
    monkeypatch.setattr(outage, "AFTER", 0.5)
    found = outage.measure(bench)
    assert found.messages == 400
    assert (found.missing, found.rejected, found.dropped) == (0, 0, 0)
    assert found.away >= TINY.outage
    assert found.peak_memory >= found.memory_end > 10
    assert "1,200, 1,200" in _report("outage", found)


# --- fairness -----------------------------------------------------------------------------------------------


@needs_mosquitto
def test_a_flood_is_limited_counted_and_shown_and_the_others_lose_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bench.environment.variables, "TDS_GATEWAY_RATE", "2")
    found = fairness.measure(bench)
    assert found.flood_published == 600
    assert found.flood_stored + found.limited == found.flood_published
    assert found.flood_stored >= 2 * BURST_SECONDS
    assert found.limited > 0
    assert found.metric == found.limited == found.kept
    assert f"limite_excedido {found.limited}" in found.logged
    assert (found.others_stored, found.others_rejected) == (found.others_published, 0)
    assert found.others_published == found.flooded["samples"] == 30
    assert f"{found.limited:,}" in _report("fairness", found)
    fresh, retained, redelivered, sustained = found.attacks
    assert {one.missing for one in found.attacks} == {0}
    assert {one.others["samples"] for one in found.attacks} == {60}
    # As a whole, for having too many readings. The retained messages are rejected when they are published,
    # and known when the broker hands them over again; the empty ones that end them are no JSON.
    assert (fresh.messages, fresh.rejected) == (4, {"esquema_invalido": 4})
    assert (retained.messages, retained.rejected["esquema_invalido"]) == (4, 4)
    assert (redelivered.messages, redelivered.rejected) == (4, {"esquema_invalido": 4})
    assert sustained.messages > 10
    assert sustained.rejected.keys() > {"dispositivo_desconhecido", "valor_invalido", "limite_excedido"}
    assert "| going on |" in _report("fairness", found)


@needs_mosquitto
def test_hostile_gateways_are_measured_beside_others_who_all_get_their_answers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostile, "OTHERS", 20)
    monkeypatch.setattr(hostile, "WARM_UP_S", 1.0)
    found = hostile.measure(bench)
    assert [attack.kind for attack in found.attacks] == [*hostile.KINDS]
    assert all(attack.sent > 0 and attack.broker > 1 and attack.consumer > 1 for attack in found.attacks)
    assert {attack.unanswered for attack in found.attacks} == {0}
    assert "| messages of 1 MiB |" in _report("hostile", found)


def _fleet(world: World, gateways: int) -> list[str]:
    """Topics of so many gateways with one device each."""
    made = Gateway.objects.bulk_create(
        Gateway(conta=world.conta, codigo=f"GW-{number}", mac=gateway_mac(number))
        for number in range(gateways)
    )
    Dispositivo.objects.bulk_create(
        Dispositivo(conta=world.conta, gateway=gateway, codigo="D01") for gateway in made
    )
    return [f"{PREFIX}/{gateway_mac(number)}/telemetry" for number in range(gateways)]


def test_in_one_batch_a_flood_takes_nothing_from_five_hundred(world: World) -> None:
    topics = _fleet(world, 500)
    flood = [telemetry(reading(minute=-number)) for number in range(200)]
    batch = [telemetry(reading(), topic=topic) for topic in topics]
    mixed = [one for number in range(500) for one in (*flood[number : number + 1], batch[number])]
    with connect("test") as session:
        result = TelemetryProcessor(session, limits=Limits(messages=1), clock=lambda: 1_000.0).process(mixed)
    assert dict(result.rejected) == {"limite_excedido": 200 - BURST_SECONDS}
    assert len(stored()) == 500 + BURST_SECONDS
    assert [(row.gateway_id, row.total) for row in RejeicaoContador.objects.all()] == [
        (world.gateway.id, 200 - BURST_SECONDS)
    ]


def test_statements_do_not_grow_with_messages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    topics = _fleet(world, 40)
    counted: list[object] = []
    for method in ("execute", "executemany", "copy"):
        plain = getattr(psycopg.Cursor, method)

        def counting(cursor: Any, query: Any, *args: Any, _plain: Any = plain, **options: Any) -> Any:
            counted.append(query)
            return _plain(cursor, query, *args, **options)

        monkeypatch.setattr(psycopg.Cursor, method, counting)

    def statements(messages: int, minute: int) -> int:
        with connect("test") as session:
            processor = TelemetryProcessor(session, clock=lambda: 1_000.0)
            batch = [
                telemetry(reading(minute=minute - n // 40), topic=topics[n % 40]) for n in range(messages)
            ]
            batch += [message(b"[]", topic=f"{PREFIX}/{n}/telemetry") for n in range(messages)]  # nobody's
            counted.clear()
            assert processor.process(batch).stored == messages
            return len(counted)

    few, many = statements(2, -10), statements(800, -20)
    assert 0 < many <= few + 1


# --- the command --------------------------------------------------------------------------------------------


def _part(value: str) -> dict[str, Any]:
    measured = {"at": "now", "load": 0.5, "command": "c", "machine": {"python": "3"}}
    found = {"seconds": 1, "rates": []}
    return {
        "measured": measured,
        "requirements": [asdict(Requirement("what", "1", value, met=False))],
        "found": found,
    }


def test_a_report_keeps_the_parts_that_were_not_measured_again() -> None:
    older = {"parts": {"latency": _part("old")}}
    assert merged(older, {"parts": {}}, PARTS) == older
    assert merged(older, {"parts": {"latency": _part("new")}}, PARTS) == {"parts": {"latency": _part("new")}}
    text = markdown(older, PARTS, HEAD)
    assert "| what | 1 | old | NOT MET |" in text
    assert "`c` on python 3. latency now (load 0.50)" in text


@needs_mosquitto
@pytest.mark.once
def test_a_part_that_fails_takes_no_other_with_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Bench) -> None:
        raise LabError("no | luck")

    monkeypatch.setitem(PARTS, "rate", PARTS["rate"]._replace(measure=fail))  # type: ignore[call-overload]
    report = measure(bench, ["latency", "rate"], "c", PARTS)
    assert (list(report["parts"]), failed(report)) == (["rate", "latency"], ["rate"])
    assert "| rate | a measurement | none: no / luck | NOT MET |" in markdown(report, PARTS, HEAD)
    assert "## Latency" in markdown(report, PARTS, HEAD)


def test_update_needs_a_report(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--update"):
        call_command("benchmark_ingest", update=True, output=tmp_path / "none")


@needs_mosquitto
@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "manage.py",
        "benchmark_ingest",
        "--database=plain",
        "--parts",
        "latency",
        "--rates",
        "10",
        "--seconds=300",
    ]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=settings.BASE_DIR,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=output,
            stderr=output,
        )
    try:
        servers = until(
            lambda: process.poll() is None and _processes_with(tmp_path, "consumer-"), "a consumer that runs"
        )
        process.send_signal(number)
        assert process.wait(60) == 130
        assert b"[WARN] interrupted" in log.read_bytes()
        assert [path.name for path in tmp_path.iterdir()] == ["log"]
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in servers), "all processes gone")
    finally:
        process.kill()
        process.wait()


def _processes_with(directory: Path, needed: str) -> list[int]:
    """Processes that have the directory in their arguments.

    They are told once a file of the name ``needed`` is in it.
    """
    if not list(directory.glob(f"tds-new-benchmark-*/{needed}*")):
        return []
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(directory) in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
