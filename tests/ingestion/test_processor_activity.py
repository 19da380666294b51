"""Signs of life and counters: online and offline, last_seen, bounded rejects."""

from datetime import datetime, timedelta

import pytest
from django.utils.timezone import now

from tds_new.ingestion.message import Message
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.models import (
    ContaAtividade,
    Dispositivo,
    Gateway,
    LeituraDispositivo,
    MensagemRejeitada,
    RejeicaoContador,
)
from tests.support.ingestion import MAC, NOW, PREFIX, Clock, World, message, reading, rejected, telemetry

HEARTBEAT, STATUS = f"{PREFIX}/{MAC}/heartbeat", f"{PREFIX}/{MAC}/status"


def gateway() -> Gateway:
    return Gateway.objects.get()


def process(processor: TelemetryProcessor, clock: Clock, *messages: Message) -> None:
    """Process a batch a second after the one before.

    So its signs of life are written.
    """
    clock.time += 1
    processor.process(messages)


def seen(world: World, minutes_ago: float) -> None:
    """Make the gateway one that was last heard so long ago."""
    Gateway.objects.update(is_online=True, last_seen=now() - timedelta(minutes=minutes_ago))


@pytest.mark.parametrize(
    "sent",
    [
        telemetry(reading()),
        telemetry(reading("D99")),
        message(b"", HEARTBEAT),
        message(b"{}", HEARTBEAT),
        message(b" Online\n", STATUS),
    ],
)
def test_whatever_a_gateway_sends_is_a_sign_of_life(
    world: World, processor: TelemetryProcessor, clock: Clock, sent: Message
) -> None:
    process(processor, clock, sent)
    assert (gateway().is_online, gateway().last_seen) == (True, sent.received_at)


@pytest.mark.parametrize(
    "sent",
    [telemetry(reading()), message(b"", HEARTBEAT), message(b"online", STATUS), message(b"offline", STATUS)],
)
@pytest.mark.parametrize("online", [True, False])
def test_a_retained_message_is_no_news(
    world: World, processor: TelemetryProcessor, clock: Clock, sent: Message, online: bool
) -> None:
    Gateway.objects.update(is_online=online)
    retained = Message(sent.topic, sent.payload, sent.received_at, retain=True)
    process(processor, clock, retained)
    assert (gateway().is_online, gateway().last_seen) == (online, None)
    assert LeituraDispositivo.objects.count() == (sent.topic.endswith("telemetry"))


def test_the_last_will_sets_a_gateway_offline_and_keeps_when_it_was_seen(
    world: World, processor: TelemetryProcessor, clock: Clock
) -> None:
    process(processor, clock, message(b"", HEARTBEAT))
    process(processor, clock, message(b"offline", STATUS))
    assert (gateway().is_online, gateway().last_seen) == (False, message().received_at)
    process(processor, clock, message(b"offline", STATUS), message(b"", HEARTBEAT))
    assert gateway().is_online
    process(processor, clock, message(b"", HEARTBEAT), message(b"offline", STATUS))
    assert not gateway().is_online


@pytest.mark.parametrize(
    ("sent", "firmware"),
    [
        (b'{"firmware_version": "2.1.0", "uptime_s": 5, "rssi": -60}', "2.1.0"), (b"", "1.0"), (b"{}", "1.0"),
        (b'{"firmware_version": null}', "1.0"), (b'{"firmware_version": 2}', "1.0"),
        (b'{"firmware_version": "' + b"x" * 51 + b'"}', "x" * 50),
        (b'{"firmware_version": "2\\u0000"}', "2\ufffd"), (b'{"firmware_version": "2\\ud800"}', "2\ufffd"),
    ],
)  # fmt: skip
def test_a_heartbeat_may_name_the_firmware(
    world: World, processor: TelemetryProcessor, clock: Clock, sent: bytes, firmware: str
) -> None:
    Gateway.objects.update(firmware_version="1.0")
    process(processor, clock, message(sent, HEARTBEAT), message(b"", HEARTBEAT))
    assert gateway().firmware_version == firmware
    assert rejected() == []
    process(processor, clock, telemetry(reading()))  # the session goes on
    assert LeituraDispositivo.objects.count() == 1


def test_a_device_was_last_seen_when_it_measured_and_late_data_does_not_turn_that_back(
    world: World, processor: TelemetryProcessor, clock: Clock
) -> None:
    process(processor, clock, telemetry(reading(minute=5), reading(minute=2)))
    process(processor, clock, telemetry(reading(minute=3), reading("D02", minute=3)))
    assert Dispositivo.objects.get(codigo="D01").last_seen == NOW + timedelta(minutes=5)
    assert Dispositivo.objects.get(codigo="D02").last_seen == NOW + timedelta(minutes=3)
    assert ContaAtividade.objects.get().ultima_leitura == NOW + timedelta(minutes=5)


def test_a_gateway_was_last_seen_by_the_servers_clock_and_an_older_message_does_not_turn_that_back(
    world: World, processor: TelemetryProcessor, clock: Clock
) -> None:
    process(processor, clock, message(b"", HEARTBEAT, received_at=NOW + timedelta(minutes=9)))
    process(processor, clock, message(b"", HEARTBEAT, received_at=NOW))
    assert gateway().last_seen == NOW + timedelta(minutes=9)


def test_a_refused_reading_does_not_say_that_its_device_measured(
    world: World, processor: TelemetryProcessor, clock: Clock
) -> None:
    process(processor, clock, telemetry(reading("D01", "x"), reading("D02", minute=99), reading("D03")))
    assert list(Dispositivo.objects.order_by("codigo").values_list("last_seen", flat=True)) == [
        None,
        None,
        NOW,
    ]


def test_signs_of_life_are_held_back_for_a_second_and_not_lost(
    world: World, processor: TelemetryProcessor, clock: Clock
) -> None:
    process(processor, clock, message(b"", HEARTBEAT))
    clock.time += 0.5
    later = message(b'{"firmware_version": "3"}', HEARTBEAT, received_at=NOW + timedelta(minutes=40))
    processor.process([telemetry(reading()), later])
    processor.flush_if_due()
    assert (gateway().last_seen, gateway().firmware_version) == (message().received_at, "")
    clock.time += 0.5
    processor.flush_if_due()
    assert (gateway().last_seen, gateway().firmware_version) == (later.received_at, "3")
    assert Dispositivo.objects.get(codigo="D01").last_seen == NOW
    clock.time += 0.5
    processor.process([message(b"", HEARTBEAT, received_at=NOW + timedelta(minutes=50))])
    processor.flush()  # as the consumer does when it ends
    assert gateway().last_seen == NOW + timedelta(minutes=50)


@pytest.mark.parametrize(
    ("interval", "minutes_ago", "online"),
    [(60, 4.9, True), (60, 5.1, False), (300, 14.9, True), (300, 15.1, False), (86_400, 1440, True)],
)
def test_silence_for_three_intervals_and_at_least_five_minutes_is_offline(
    world: World, processor: TelemetryProcessor, interval: int, minutes_ago: float, online: bool
) -> None:
    seen(world, minutes_ago)
    Gateway.objects.update(intervalo_esperado_s=interval)
    assert processor.mark_silent() == (not online)
    assert gateway().is_online is online
    assert processor.mark_silent() == 0


def counters() -> tuple[int, int]:
    found = ContaAtividade.objects.first()
    return (found.ingestao_seq, found.status_seq) if found else (0, 0)


def test_the_contas_counters_move_with_data_and_with_changes_of_state(
    world: World, processor: TelemetryProcessor, clock: Clock
) -> None:
    process(processor, clock, message(b"", HEARTBEAT))
    assert counters() == (0, 1)
    process(processor, clock, message(b"", HEARTBEAT))
    assert counters() == (0, 1)  # online still: nothing new to show
    process(processor, clock, telemetry(reading(), reading("D02")), telemetry(reading(minute=1)))
    assert counters() == (1, 1)
    process(processor, clock, message(b"offline", STATUS))
    assert counters() == (1, 2)
    seen(world, 60)
    assert processor.mark_silent() == 1
    assert counters() == (1, 3)


# --- a flood of rejects -------------------------------------------------------------------------------------


def test_of_rejects_the_newest_are_kept_per_gateway_and_reason_and_all_are_counted(
    world: World, processor: TelemetryProcessor
) -> None:
    processor._keep = 10
    for start in (0, 7, 14):
        processor.process([message(b"x%d" % number) for number in range(start, start + 7)])
    processor.process(
        [message(b"[]"), message(b"y", f"{PREFIX}/x/telemetry"), *[message(b"[%d]" % n) for n in range(30)]]
    )
    kept = MensagemRejeitada.objects.filter(motivo="json_invalido").order_by("id")
    assert [bytes(row.payload) for row in kept] == [b"x%d" % number for number in range(11, 21)]
    assert [
        bytes(row.payload)
        for row in MensagemRejeitada.objects.filter(motivo="esquema_invalido").order_by("id")
    ] == [b"[%d]" % n for n in range(20, 30)]
    totals = {(row.gateway_id, row.motivo): row.total for row in RejeicaoContador.objects.all()}
    known = world.gateway.id
    assert totals == {
        (known, "json_invalido"): 21,
        (known, "esquema_invalido"): 31,
        (None, "gateway_desconhecido"): 1,
    }


def test_a_message_of_many_bad_readings_is_not_copied_for_each(
    world: World, processor: TelemetryProcessor
) -> None:
    result = processor.process([telemetry(*[reading("D99", minute=n) for n in range(200)], reading())])
    assert MensagemRejeitada.objects.count() == 50
    assert RejeicaoContador.objects.get().total == result.rejected["dispositivo_desconhecido"] == 200
    assert result.stored == 1


def test_what_the_broker_delivers_again_is_not_rejected_again(
    world: World, processor: TelemetryProcessor
) -> None:
    bad = [
        message(b"x"),
        telemetry(reading("D99"), reading("D98"), reading(valor=1)),
        telemetry(reading(valor=2)),
    ]
    processor.process(bad)
    before = rejected()
    again = [Message(m.topic, m.payload, m.received_at, redelivered=True) for m in bad]
    processor.process([*again, message(b"new", redelivered=True)])
    assert rejected() == [*before, ("json_invalido", None)]
    assert sum(RejeicaoContador.objects.values_list("total", flat=True)) == len(before) + 1
    processor.process([message(b"x")])  # sent again by the gateway: another refusal
    assert RejeicaoContador.objects.get(motivo="json_invalido").total == 3


def test_many_bad_readings_that_the_broker_delivers_again_are_not_counted_again(
    world: World, processor: TelemetryProcessor
) -> None:
    many = telemetry(*[reading("D99", minute=n) for n in range(70)], reading(), reading(valor=2))
    processor.process([many])
    processor.process([Message(many.topic, many.payload, many.received_at, redelivered=True)])
    assert MensagemRejeitada.objects.count() == 51
    assert dict(RejeicaoContador.objects.values_list("motivo", "total")) == {
        "dispositivo_desconhecido": 70,
        "conflito": 1,
    }


def test_counters_know_the_first_and_the_last_time(world: World, processor: TelemetryProcessor) -> None:
    times: list[datetime] = [NOW + timedelta(minutes=n) for n in (5, 1, 9)]
    processor.process([message(b"x", received_at=time) for time in times[:2]])
    processor.process([message(b"x", received_at=times[2])])
    row = RejeicaoContador.objects.get()
    assert (row.primeira_em, row.ultima_em, row.total) == (times[1], times[2], 3)
