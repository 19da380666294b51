"""What a gateway may cost: hostile messages are bounded before the work, honest backlogs are not hurt."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tds_new.ingestion import consumer, payload, preparation, store
from tds_new.ingestion.message import Message
from tds_new.ingestion.rate import (
    BURST_SECONDS,
    FOR_MESSAGES,
    FREE_BYTES,
    UNKNOWN,
    Account,
    GatewayBudget,
    Limits,
)
from tds_new.ingestion.reprocess import reprocess
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.models import Dispositivo, Gateway, MensagemRejeitada, RejeicaoContador
from tds_new.storage.session import connect
from tests.support.ingestion import (
    MAC,
    OTHER_MAC,
    PREFIX,
    TOPIC,
    Clock,
    World,
    execute,
    message,
    reading,
    stored,
    telemetry,
    world,
)
from tests.support.ingestion import payload as content

__all__ = ["world"]

OTHER_TOPIC = f"{PREFIX}/{OTHER_MAC}/telemetry"
DEVICES = 250
BACKLOG_DAYS = 45
MESSAGES_A_DAY = 96  # one every 15 minutes


@pytest.fixture
def other(world: World) -> Gateway:
    """A neighbour with one device."""
    gateway = Gateway.objects.create(conta=world.conta, codigo="GW-B", mac=OTHER_MAC)
    Dispositivo.objects.create(gateway=gateway, codigo="D01")
    return gateway


@pytest.fixture
def limited(world: World) -> Iterator[Callable[..., TelemetryProcessor]]:
    """Return a function that makes a processor with limits; time stands still."""
    with connect("test") as session:
        yield lambda **limits: TelemetryProcessor(session, limits=Limits(**limits), clock=Clock())


@pytest.fixture
def shipped(world: World) -> Iterator[TelemetryProcessor]:
    """A processor with the limits that are the defaults; time stands still."""
    with connect("test") as session:
        yield TelemetryProcessor(session, limits=consumer._limits(), clock=Clock())


def account_of(processor: TelemetryProcessor, gateway_id: int) -> Account:
    budget = processor._preparer._budget
    return budget.account(gateway_id, budget.clock())


def used(processor: TelemetryProcessor, gateway_id: int) -> dict[str, float]:
    """What a gateway has used of its bursts."""
    account, bursts = account_of(processor, gateway_id), processor._preparer._budget._bursts
    return {name: round(getattr(bursts, name) - getattr(account, name), 9) for name in Limits._fields}


def totals() -> dict[tuple[int | None, str], int]:
    return {(row.gateway_id, row.motivo): row.total for row in RejeicaoContador.objects.all()}


@pytest.fixture
def processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the processor's time is 10 ms later than the one before."""
    looks = [0]

    def thread_time() -> float:
        looks[0] += 1
        return looks[0] / 100

    monkeypatch.setattr(payload, "thread_time", thread_time)
    monkeypatch.setattr(preparation.time, "thread_time", thread_time)


# --- gateways that behave -----------------------------------------------------------------------------------


def backlog(world: World, number: int, **more: Any) -> Message:
    """A message of a gateway with many meters, one of many that it sends at once."""
    readings = [
        {"dispositivo_codigo": f"M{n:03}", "valor": 1234.5 + n, "unidade": "kWh"} for n in range(DEVICES)
    ]
    time = reading(minute=-15 * number)["timestamp"]
    return telemetry(*readings, *more.pop("also", ()), timestamp=time, seq=number, **more)


@pytest.fixture
def meters(world: World) -> None:
    Dispositivo.objects.bulk_create(
        Dispositivo(
            conta=world.conta, gateway=world.gateway, codigo=f"M{n:03}", unidade="kWh", grandeza="ENERGIA"
        )
        for n in range(DEVICES)
    )


def test_a_backlog_of_weeks_is_within_the_limits_that_are_shipped(
    world: World, meters: None, shipped: TelemetryProcessor
) -> None:
    result = shipped.process([backlog(world, number) for number in range(20)])
    assert (result.stored, result.rejected.total(), len(result.answers)) == (20 * DEVICES, 0, 20)
    assert used(shipped, world.gateway.id) == {
        "messages": 20,
        "readings": 20 * DEVICES,
        "bytes": 0,
        "refusals": 0,
        "seconds": 0,
    }
    account, size = account_of(shipped, world.gateway.id), len(backlog(world, 0).payload)
    budget = shipped._preparer._budget
    for _ in range(20, BACKLOG_DAYS * MESSAGES_A_DAY):  # the rest of it, at the same moment
        assert not budget.take(account, size)
        account.charge(DEVICES, size, 0, 0.0)


def test_a_backlog_with_bad_readings_in_every_message_is_not_hurt_either(
    world: World, meters: None, shipped: TelemetryProcessor, processor_time: None
) -> None:
    """Some devices are not registered, and one sends NaN: each message goes to the tolerant parser."""
    bad = [reading("D99"), reading("D98"), reading(valor=float("nan"))]
    result = shipped.process([backlog(world, number, also=bad, pad="x" * 1_000) for number in range(20)])
    assert (result.stored, result.rejected.total()) == (20 * DEVICES, 60)
    charged = used(shipped, world.gateway.id)
    assert (charged["refusals"], charged["seconds"]) == (0, 0)
    rows = MensagemRejeitada.objects.values_list("motivo", "topico").distinct().count()
    assert rows == 2
    account, bursts = account_of(shipped, world.gateway.id), shipped._preparer._budget._bursts
    assert account.bytes >= bursts.bytes * FOR_MESSAGES  # copies of payloads were paid for, and nothing else


def test_a_gateway_without_registered_devices_has_its_refusals_and_then_waits(
    world: World, limited: Callable[..., TelemetryProcessor]
) -> None:
    processor = limited(refusals=10)
    batch = [telemetry(*[reading("D99")] * 100, seq=n) for n in range(10)]
    result = processor.process(batch)
    assert dict(result.rejected) == {"dispositivo_desconhecido": 600, "limite_excedido": 4}
    assert [answer.seq for answer in result.answers] == list(range(6))  # the others are to be sent again


# --- gateways that do not -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"retain": True}, {"redelivered": True}])
def test_a_flood_of_bad_readings_is_parsed_up_to_the_budget_and_then_only_counted(
    world: World, other: Gateway, shipped: TelemetryProcessor, monkeypatch: pytest.MonkeyPatch, how: Any
) -> None:
    parsed: list[bytes] = []
    right = preparation.parse_telemetry
    monkeypatch.setattr(preparation, "parse_telemetry", lambda sent: parsed.append(sent) or right(sent))
    flood = [message(content(*[1] * 2_000, n=n), **how) for n in range(100)]
    neighbour = telemetry(reading(), topic=OTHER_TOPIC, seq=1)
    result = shipped.process([*flood, neighbour])
    allowed = consumer._limits().refusals * BURST_SECONDS / 2_000
    assert len(parsed) == allowed + 1
    assert (result.stored, [answer.topic for answer in result.answers]) == (1, [f"{PREFIX}/{OTHER_MAC}/ack"])
    assert totals() == {
        (world.gateway.id, "esquema_invalido"): 2_000 * allowed,
        (world.gateway.id, "limite_excedido"): 100 - allowed,
    }


def test_messages_with_far_too_many_readings_cost_one_refusal_each(
    world: World, shipped: TelemetryProcessor
) -> None:
    flood = [message(b'{"seq":%d,"leituras":[%s1]}' % (n, b"1," * 30_000)) for n in range(60)]
    result = shipped.process(flood)
    assert dict(result.rejected) == {"esquema_invalido": 60}
    assert {(answer.seq, answer.error) for answer in result.answers} == {
        (n, "esquema_invalido") for n in range(60)
    }
    assert MensagemRejeitada.objects.count() == 60
    charged = used(shipped, world.gateway.id)
    bytes_twice = sum(2 * len(one.payload) for one in flood)  # as they come, and as they are kept
    assert (charged["refusals"], charged["bytes"]) == (60, bytes_twice - 60 * FREE_BYTES)


@pytest.mark.parametrize(
    "sent",
    [
        message(content(reading(valor=float("nan")), reading(), pad=[1] * 5_000)),
        message(b"[NaN]"),
        message(b'{"uptime_s":[1,2,3]}', f"{PREFIX}/{MAC}/heartbeat"),
        message(b'{"uptime_s":[1,2,3', f"{PREFIX}/{MAC}/heartbeat"),
    ],
)
def test_processor_time_is_charged(
    world: World, limited: Callable[..., TelemetryProcessor], processor_time: None, sent: Message
) -> None:
    """Ten milliseconds each: of a burst of 600 sixty are left, or as many more as their readings pay for."""
    result = limited(seconds=0.01).process([sent] * 100)
    assert 100 - result.rejected["limite_excedido"] in (60, 61, 62)


def test_a_batch_that_is_prepared_again_is_charged_once(
    world: World, limited: Callable[..., TelemetryProcessor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database fails and comes back, a registration is stale: neither is the gateway's doing."""
    processor, right = limited(messages=1, readings=0.2, refusals=1), store.insert_readings
    batch = [telemetry(reading(minute=-n), reading("D99"), 1) for n in range(BURST_SECONDS)]
    batch.append(telemetry(reading(minute=1)))
    errors = [
        psycopg.OperationalError("away"),
        psycopg.OperationalError("away"),
        store.StaleRegistryError(),
    ]

    def failing(*args: Any) -> store.Stored:
        if errors:
            raise errors.pop(0)
        return right(*args)

    monkeypatch.setattr(store, "insert_readings", failing)
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError):
            processor.process(batch)
    result = processor.process(batch)
    assert dict(result.rejected) == {
        "dispositivo_desconhecido": BURST_SECONDS,
        "esquema_invalido": BURST_SECONDS,
        "limite_excedido": 1,
    }
    charged = used(processor, world.gateway.id)
    assert {charged[name] for name in ("messages", "readings", "refusals")} == {BURST_SECONDS}


def test_a_prepared_batch_that_is_prepared_again_is_charged_once(
    world: World, limited: Callable[..., TelemetryProcessor], monkeypatch: pytest.MonkeyPatch
) -> None:
    processor, right = limited(messages=1), store.insert_readings
    errors = [store.StaleRegistryError()]
    monkeypatch.setattr(
        store, "insert_readings", lambda *args: right(*args) if not errors else _raise(errors.pop())
    )
    batch = [telemetry(reading(minute=-n)) for n in range(BURST_SECONDS + 5)]
    with connect("looking") as lookup:
        result = processor.store(processor.prepare(batch, lookup))
    assert (result.stored, dict(result.rejected)) == (BURST_SECONDS, {"limite_excedido": 5})
    assert used(processor, world.gateway.id)["messages"] == BURST_SECONDS


def _raise(error: Exception) -> Any:
    raise error


@pytest.fixture
def refusing(world: World) -> Iterator[None]:
    """The database refuses the value 666; afterwards it takes it again."""
    execute("ALTER TABLE tds_new_leitura_dispositivo ADD CONSTRAINT no_666 CHECK (valor <> 666)")
    yield
    execute("ALTER TABLE tds_new_leitura_dispositivo DROP CONSTRAINT no_666")


def test_messages_that_make_the_batch_be_halved_are_charged_for_it(
    world: World,
    other: Gateway,
    refusing: None,
    limited: Callable[..., TelemetryProcessor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database refuses them; beyond the budget they are refused before, and halve nothing any more."""
    alone: list[int] = []
    right = TelemetryProcessor._isolate

    def isolate(self: TelemetryProcessor, batch: Any, *args: Any) -> Any:
        alone.extend(number for number, _ in batch if len(batch) == 1)
        return right(self, batch, *args)

    monkeypatch.setattr(TelemetryProcessor, "_isolate", isolate)
    processor = limited(seconds=0.01)
    hostile = [telemetry(reading(valor=666, minute=-n)) for n in range(64)]
    good = [telemetry(reading(minute=-n), topic=OTHER_TOPIC) for n in range(64)]
    result = processor.process([one for pair in zip(hostile, good, strict=True) for one in pair])
    assert result.stored == len(good) == len(stored())
    assert len(alone) in (12, 13)  # 0.05 seconds each, of 0.6
    assert result.rejected.keys() == {"esquema_invalido", "limite_excedido"}
    assert result.rejected.total() == len(hostile)


def test_conflicts_are_charged_as_refusals(world: World, limited: Callable[..., TelemetryProcessor]) -> None:
    processor = limited(refusals=1)
    times = [reading(minute=-n) for n in range(BURST_SECONDS)]
    other_values = [{**one, "valor": 7} for one in times]
    assert processor.process([telemetry(*times)]).stored == BURST_SECONDS
    assert processor.process([telemetry(*other_values)]).conflicts == BURST_SECONDS
    assert dict(processor.process([telemetry(reading(minute=1))]).rejected) == {"limite_excedido": 1}


def test_messages_of_inactive_gateways_have_a_budget(
    world: World, other: Gateway, limited: Callable[..., TelemetryProcessor]
) -> None:
    Gateway.objects.filter(pk=world.gateway.pk).update(is_active=False)
    batch = [telemetry(reading()) for _ in range(BURST_SECONDS + 5)]
    result = limited(messages=1).process([*batch, telemetry(reading(), topic=OTHER_TOPIC)])
    assert (result.stored, dict(result.rejected)) == (
        1,
        {"gateway_inativo": BURST_SECONDS, "limite_excedido": 5},
    )


def test_messages_of_no_registered_gateway_share_a_budget(
    world: World, limited: Callable[..., TelemetryProcessor]
) -> None:
    unknown = [telemetry(reading(), topic=f"{PREFIX}/02:00:00:00:00:{n:02x}/telemetry") for n in range(40)]
    strange = [telemetry(reading(), topic=f"{PREFIX}/{'x' * n}#/telemetry") for n in range(25)]
    processor = limited(messages=1)
    result = processor.process([*unknown, *strange, telemetry(reading())])
    assert result.stored == 1
    assert dict(result.rejected) == {
        "gateway_desconhecido": 40,
        "topico_invalido": 20,
        "limite_excedido": 5,
    }
    assert used(processor, UNKNOWN)["messages"] == BURST_SECONDS


def test_long_topics_are_not_remembered(limited: Callable[..., TelemetryProcessor]) -> None:
    processor = limited()
    processor.process(
        [telemetry(reading(), topic=f"{PREFIX}/{'x' * 60_000}/telemetry"), telemetry(reading())]
    )
    assert set(processor._preparer._topics) == {TOPIC}


def test_what_was_over_the_limit_is_processed_again_without_one(
    world: World, limited: Callable[..., TelemetryProcessor]
) -> None:
    limited(messages=1).process([telemetry(reading(minute=-n)) for n in range(BURST_SECONDS + 5)])
    result = reprocess(MensagemRejeitada.objects.filter(motivo="limite_excedido"))
    assert (result.accepted, result.refused) == (5, 0)
    assert len(stored()) == BURST_SECONDS + 5


def test_the_consumer_has_the_limits_of_the_settings(settings: Any) -> None:
    assert all(consumer._limits())
    settings.TDS_GATEWAY_RATE, settings.TDS_GATEWAY_CPU_MS = 7, 250
    settings.TDS_GATEWAY_READINGS = settings.TDS_GATEWAY_BYTES = settings.TDS_GATEWAY_REFUSALS = 0
    assert consumer._limits() == Limits(messages=7, seconds=0.25)
    assert GatewayBudget(consumer._limits(), Clock())._bursts.messages == 7 * BURST_SECONDS
