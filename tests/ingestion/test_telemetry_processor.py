"""Messages to rows: what is stored, rejected and why; changed registrations."""

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tds_new.ingestion.message import Message
from tds_new.ingestion.payload import MAX_PAYLOAD_BYTES
from tds_new.ingestion.preparation import Answer
from tds_new.ingestion.refusal import Reason
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.models import (
    Conta,
    Dispositivo,
    Gateway,
    LeituraDispositivo,
    MensagemRejeitada,
    RejeicaoContador,
)
from tests.support.ingestion import (
    MAC,
    NOW,
    OTHER_MAC,
    PREFIX,
    TOPIC,
    Clock,
    World,
    execute,
    message,
    payload,
    reading,
    rejected,
    stamp,
    stored,
    telemetry,
)

GOOD = reading("D02", 7)
Change = Callable[[World], Any]


def deactivate(*names: str) -> Change:
    def change(world: World) -> None:
        for name in names:
            thing = getattr(world, name)
            field, value = ("status", "INATIVO") if isinstance(thing, Dispositivo) else ("is_active", False)
            type(thing).objects.filter(pk=thing.pk).update(**{field: value})

    return change


def nothing(world: World) -> None:
    """Leave the registry as it is."""


# The message sent, the change before, the reason, the reading concerned, and whether the gateway is known.
CASES: dict[str, tuple[Message, Change, Reason, int | None, bool]] = {
    "topic": (telemetry(GOOD, topic=f"{PREFIX}/{MAC}/tele"), nothing, Reason.TOPICO_INVALIDO, None, False),
    "wildcard in the topic": (
        telemetry(GOOD, topic=f"{PREFIX}/+/telemetry"),
        nothing,
        Reason.TOPICO_INVALIDO,
        None,
        False,
    ),
    "NUL in the topic": (
        telemetry(GOOD, topic=f"{PREFIX}/a\0b/telemetry"),
        nothing,
        Reason.TOPICO_INVALIDO,
        None,
        False,
    ),
    "unknown MAC": (
        telemetry(GOOD, topic=f"{PREFIX}/{OTHER_MAC}/telemetry"),
        nothing,
        Reason.GATEWAY_DESCONHECIDO,
        None,
        False,
    ),
    "unknown name": (
        telemetry(GOOD, topic=f"{PREFIX}/abc123/telemetry"),
        nothing,
        Reason.GATEWAY_DESCONHECIDO,
        None,
        False,
    ),
    "inactive gateway": (telemetry(GOOD), deactivate("gateway"), Reason.GATEWAY_INATIVO, None, True),
    "inactive conta": (telemetry(GOOD), deactivate("conta"), Reason.GATEWAY_INATIVO, None, True),
    "inactive gateway's heartbeat": (
        message(topic=f"{PREFIX}/{MAC}/heartbeat"),
        deactivate("gateway"),
        Reason.GATEWAY_INATIVO,
        None,
        True,
    ),
    "not JSON": (message(b"{"), nothing, Reason.JSON_INVALIDO, None, True),
    "not UTF-8": (message(b"\xff\0"), nothing, Reason.JSON_INVALIDO, None, True),
    "empty": (message(b""), nothing, Reason.JSON_INVALIDO, None, True),
    "no object": (message(b"[]"), nothing, Reason.ESQUEMA_INVALIDO, None, True),
    "heartbeat no object": (
        message(b"1", f"{PREFIX}/{MAC}/heartbeat"),
        nothing,
        Reason.ESQUEMA_INVALIDO,
        None,
        True,
    ),
    "status neither": (
        message(b"perhaps", f"{PREFIX}/{MAC}/status"),
        nothing,
        Reason.ESQUEMA_INVALIDO,
        None,
        True,
    ),
    "another MAC": (telemetry(GOOD, gateway_mac=OTHER_MAC), nothing, Reason.MAC_DIVERGENTE, None, True),
    "too large": (message(b"x" * (MAX_PAYLOAD_BYTES + 1)), nothing, Reason.MENSAGEM_GRANDE, None, True),
    "no reading": (telemetry(GOOD, None), nothing, Reason.ESQUEMA_INVALIDO, 1, True),
    "naive time": (
        telemetry(GOOD, reading() | {"timestamp": "2026-02-18T14:30:00"}),
        nothing,
        Reason.TIMESTAMP_INVALIDO,
        1,
        True,
    ),
    "future": (telemetry(GOOD, reading(minute=36)), nothing, Reason.TIMESTAMP_FUTURO, 1, True),
    "2999": (
        telemetry(GOOD, reading() | {"timestamp": "2999-01-01T00:00:00Z"}),
        nothing,
        Reason.TIMESTAMP_FUTURO,
        1,
        True,
    ),
    "1970": (
        telemetry(GOOD, reading() | {"timestamp": "1970-01-01T00:00:00Z"}),
        nothing,
        Reason.TIMESTAMP_ANTIGO,
        1,
        True,
    ),
    "before the horizon": (
        telemetry(GOOD, reading(minute=-731 * 1440)),
        nothing,
        Reason.TIMESTAMP_ANTIGO,
        1,
        True,
    ),
    "unknown device": (telemetry(GOOD, reading("D99")), nothing, Reason.DISPOSITIVO_DESCONHECIDO, 1, True),
    "device in another case": (
        telemetry(GOOD, reading("d01")),
        nothing,
        Reason.DISPOSITIVO_DESCONHECIDO,
        1,
        True,
    ),
    "NUL in the device": (
        telemetry(GOOD, reading("D01\0")),
        nothing,
        Reason.DISPOSITIVO_DESCONHECIDO,
        1,
        True,
    ),
    "surrogate in the device": (
        telemetry(GOOD, reading("\ud800")),
        nothing,
        Reason.JSON_INVALIDO,
        None,
        True,
    ),
    "inactive device": (telemetry(GOOD, reading()), deactivate("d01"), Reason.DISPOSITIVO_INATIVO, 1, True),
    "NaN": (telemetry(GOOD, reading(valor=float("nan"))), nothing, Reason.VALOR_INVALIDO, 1, True),
    "decimal comma": (telemetry(GOOD, reading(valor="12,5")), nothing, Reason.VALOR_INVALIDO, 1, True),
    "another unit": (telemetry(GOOD, reading(unidade="m³")), nothing, Reason.UNIDADE_INVALIDA, 1, True),
    "too large in the device's unit": (
        telemetry(GOOD, reading(valor=100_000_000, unidade="MWh")),
        nothing,
        Reason.VALOR_INVALIDO,
        1,
        True,
    ),
    "too large in any unit": (
        telemetry(GOOD, reading(valor=10**14, unidade="MWh")),
        nothing,
        Reason.VALOR_INVALIDO,
        1,
        True,
    ),
    "a long unit": (telemetry(GOOD, reading(unidade="x" * 11)), nothing, Reason.UNIDADE_INVALIDA, 1, True),
    "conflict": (telemetry(reading(valor=1), GOOD, reading(valor=2)), nothing, Reason.CONFLITO, 2, True),
}


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_stored_is_rejected_as_it_came_and_costs_nothing_else(
    world: World, processor: TelemetryProcessor, name: str
) -> None:
    sent, change, reason, index, known = CASES[name]
    change(world)
    result = processor.process([sent, telemetry(reading("D03", -5, minute=3))])
    row = MensagemRejeitada.objects.filter(motivo=reason, leitura_indice=index).earliest("id")
    assert bytes(row.payload) == sent.payload[:MAX_PAYLOAD_BYTES]
    assert (row.topico, row.recebida_em) == (sent.topic.replace("\0", "\ufffd"), sent.received_at)
    assert (row.gateway_id, row.conta_id) == ((world.gateway.id, world.conta.id) if known else (None, None))
    assert row.detalhe
    assert result.rejected[reason] == RejeicaoContador.objects.get(motivo=reason).total
    if reason is not Reason.GATEWAY_INATIVO:  # then the neighbour is refused as well
        assert MensagemRejeitada.objects.count() == 1
        assert ("D03", 3, Decimal("-5.0000")) in stored()
        assert (("D02", 0, Decimal("7.0000")) in stored()) is (index is not None)


def test_every_reason_of_the_contract_is_in_the_table() -> None:
    # A flood takes more than one message: see test_rate.py.
    assert {reason for _, _, reason, _, _ in CASES.values()} == set(Reason) - {Reason.LIMITE_EXCEDIDO}


def test_a_reading_is_stored_with_the_devices_owner_unit_and_kind(
    world: World, processor: TelemetryProcessor
) -> None:
    sent = telemetry(
        reading("D01", "123.45", unidade="kWh", canal=3),
        reading("D02", 67.88995),
        timestamp=stamp(),
        versao=2,
        seq=9,
    )
    result = processor.process([sent])
    first, second = LeituraDispositivo.objects.order_by("dispositivo_id")
    assert (first.time, first.valor, first.unidade, first.tipo_leitura) == (
        NOW,
        Decimal("123.4500"),
        "kWh",
        "INCREMENTAL",
    )
    assert (second.time, second.valor, second.unidade, second.tipo_leitura) == (
        NOW,
        Decimal("67.8900"),
        "m³",
        "ACUMULADA",
    )
    assert {(r.conta_id, r.gateway_id) for r in (first, second)} == {(world.conta.id, world.gateway.id)}
    whole = json.loads(sent.payload)
    assert first.payload_raw == whole | {"leituras": whole["leituras"][:1]}
    assert second.payload_raw == whole | {"leituras": whole["leituras"][1:]}
    assert (result.messages, result.stored, result.duplicates, result.conflicts) == (1, 2, 0, 0)
    assert result.answers == [Answer(f"{PREFIX}/{MAC}/ack", 9, None, world.gateway.id)]


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (telemetry(reading("D99"), seq=1), b'{"seq": 1}'),
        (telemetry(reading(), reading("D99"), seq=1), b'{"seq": 1}'),
        (telemetry(seq=1), b'{"seq": 1}'),
        (telemetry(reading(), gateway_mac=OTHER_MAC, seq=1), b'{"seq": 1, "erro": "mac_divergente"}'),
        (
            telemetry(reading(valor=float("nan")), gateway_mac=OTHER_MAC, seq=1),
            b'{"seq": 1, "erro": "mac_divergente"}',
        ),
        (message(b'{"leituras": 5, "seq": 1}'), b'{"seq": 1, "erro": "esquema_invalido"}'),
        (message(b'{"leituras": NaN, "seq": 1}'), b'{"seq": 1, "erro": "esquema_invalido"}'),
        (message(b'{"seq": 1, "leituras": [{"valor": 1'), b'{"seq": 1, "erro": "json_invalido"}'),
        (message(b'{"leituras": [], "seq": "1"}'), None),
        (message(b'{"leituras": [], "seq": 1'), None),
        # Not registered: it may keep the message until it is.
        (telemetry(reading(), topic=f"{PREFIX}/{OTHER_MAC}/telemetry", seq=1), None),
        (message(b'{"seq": 1}', f"{PREFIX}/{MAC}/heartbeat"), None),
        (message(b'{"seq": 1}', f"{PREFIX}/{MAC}/status"), None),
    ],
)
def test_what_is_rejected_is_answered_with_the_reason_if_that_is_final(
    world: World, processor: TelemetryProcessor, sent: Message, answer: bytes | None
) -> None:
    answers = processor.process([sent]).answers
    assert [given.payload for given in answers] == ([] if answer is None else [answer])
    assert {given.topic for given in answers} <= {f"{PREFIX}/{MAC}/ack"}


def test_a_message_of_an_inactive_gateway_is_not_answered_because_that_heals(
    world: World, processor: TelemetryProcessor
) -> None:
    Gateway.objects.update(is_active=False)
    result = processor.process([telemetry(reading(), seq=1), message(b'{"seq": 2, "leituras": 5}')])
    assert (dict(result.rejected), result.answers) == ({"gateway_inativo": 2}, [])


@pytest.mark.parametrize(
    "spelling", [MAC.upper(), MAC.replace(":", "-"), MAC.replace(":", "").upper(), "abc123"]
)
def test_a_gateway_is_known_by_every_spelling_and_by_its_name(
    world: World, processor: TelemetryProcessor, spelling: str
) -> None:
    Gateway.objects.filter(pk=world.gateway.pk).update(device_id="abc123")
    sent = [
        telemetry(reading(), topic=f"{PREFIX}/{spelling}/telemetry", gateway_mac=MAC.upper()),
        telemetry(reading(minute=1)),
    ]
    assert processor.process(sent).stored == 2


@pytest.mark.parametrize(
    ("codigo", "unidade"),
    [
        ("D02", "m3"),
        ("D02", "m³"),
        ("D02", " m³ "),
        ("D03", "ºC"),
        ("D03", "°C"),
        ("D01", None),
        ("D01", "kWh"),
        ("D01", "KWH"),
        ("D01", " kwh "),
    ],
)
def test_a_unit_may_be_absent_or_typed_in_another_way(
    world: World, processor: TelemetryProcessor, codigo: str, unidade: str | None
) -> None:
    assert processor.process([telemetry(reading(codigo, unidade=unidade))]).stored == 1
    assert LeituraDispositivo.objects.get().unidade == Dispositivo.objects.get(codigo=codigo).unidade


@pytest.mark.parametrize(
    ("unit", "sent"), [("mW", "MW"), ("kvarh", "kWh"), ("m³", "m²"), ("kWh", "kWh" + 40 * " " + "x")]
)
def test_units_that_only_look_alike_are_not_the_same(
    world: World, processor: TelemetryProcessor, unit: str, sent: str
) -> None:
    Dispositivo.objects.filter(pk=world.d01.pk).update(unidade=unit)
    processor.process([telemetry(reading(unidade=sent))])
    assert rejected() == [("unidade_invalida", 0)]


@pytest.mark.parametrize(
    ("registered", "sent", "valor", "stored_as"),
    [
        ("kWh", "Wh", 12600, "12.6000"),
        ("kWh", "MWh", "0.0127", "12.7000"),
        ("kWh", "MWh", "0.01275", "12.7500"),  # exact first, then rounded
        ("kWh", "Wh", "0.05", "0.0000"),
        ("kWh", "Wh", "0.15", "0.0002"),
        ("kWh", "Wh", "-0.15", "-0.0002"),
        ("kWh", "Wh", "0.25", "0.0002"),
        ("kWh", "Wh", "0.25" + 200 * "0" + "1", "0.0003"),
        ("kWh", "wh", 12_345_678_901_234, "12345678901.2340"),
        ("kWh", "WH", "99999999999999.9", "99999999999.9999"),
        ("MWh", "Wh", "123456789012.3", "123456.7890"),
        ("Wh", "kWh", "-1e3", "-1000000.0000"),
        ("m³", "litros", 1234, "1.2340"),
        ("m3", "M^3", "1.5", "1.5000"),
        ("L", "m³", "0.00001", "0.0100"),
        ("pulsos", "PULSOS", 250, "250.0000"),
    ],
)
def test_a_unit_of_the_same_kind_is_converted_exactly_and_then_rounded(
    world: World, processor: TelemetryProcessor, registered: str, sent: str, valor: Any, stored_as: str
) -> None:
    Dispositivo.objects.filter(pk=world.d01.pk).update(unidade=registered)
    result = processor.process([telemetry(reading(valor=valor, unidade=sent))])
    assert (result.stored, rejected()) == (1, [])
    found = LeituraDispositivo.objects.get()
    assert (f"{found.valor:f}", found.unidade) == (stored_as, registered)
    assert found.payload_raw["leituras"][0]["unidade"] == sent  # as it came


def test_the_same_value_in_another_unit_is_a_duplicate(world: World, processor: TelemetryProcessor) -> None:
    sent = [telemetry(reading(valor=12.5)), telemetry(reading(valor=12500, unidade="Wh"))]
    result = processor.process(sent)
    assert (result.stored, result.duplicates, result.conflicts) == (1, 1, 0)


def test_a_device_in_maintenance_still_counts(world: World, processor: TelemetryProcessor) -> None:
    Dispositivo.objects.filter(pk=world.d01.pk).update(status="MANUTENCAO")
    assert processor.process([telemetry(reading())]).stored == 1


def test_the_same_again_is_a_duplicate_within_a_batch_and_across_batches(
    world: World, processor: TelemetryProcessor
) -> None:
    same = [
        telemetry(reading(valor=1)),
        telemetry(reading(valor="1.0000")),
        telemetry(reading(valor=1.00001)),
    ]
    first = processor.process(same)
    again = processor.process([*same, telemetry(reading(minute=1))])
    assert (first.stored, first.duplicates, again.stored, again.duplicates) == (1, 2, 1, 3)
    assert stored() == [("D01", 0, Decimal(1)), ("D01", 1, Decimal("1.5"))]
    assert rejected() == []


def test_of_two_values_the_first_stays_and_each_other_is_counted(
    world: World, processor: TelemetryProcessor
) -> None:
    processor.process([telemetry(reading(valor=1))])
    result = processor.process(
        [
            telemetry(reading(valor=2)),
            telemetry(reading(valor=1), reading(valor=3)),
            telemetry(reading(minute=1)),
        ]
    )
    assert stored() == [("D01", 0, Decimal(1)), ("D01", 1, Decimal("1.5"))]
    assert rejected() == [("conflito", 0), ("conflito", 1)]
    assert (result.stored, result.duplicates, result.conflicts) == (1, 1, 2)
    assert RejeicaoContador.objects.get().total == 2
    assert (
        MensagemRejeitada.objects.filter(
            conta=world.conta, gateway=world.gateway, detalhe__contains="1.0000 stored"
        ).count()
        == 2
    )


def test_times_up_to_the_tolerance_and_from_the_horizon_are_accepted(
    world: World, processor: TelemetryProcessor
) -> None:
    Gateway.objects.filter(pk=world.gateway.pk).update(aceita_leituras_desde=NOW - timedelta(days=1))
    result = processor.process(
        [telemetry(reading(minute=35), reading(minute=-1440)), telemetry(reading(minute=-1441))]
    )
    assert result.stored == 2
    assert rejected() == [("timestamp_antigo", 0)]


# --- a registry that changes --------------------------------------------------------------------------------


def test_a_gateway_that_moves_to_another_conta_takes_only_new_readings_along(
    world: World, processor: TelemetryProcessor
) -> None:
    processor._resolver._max_age = 1e9  # even a cache that never ages cannot give a reading to the old Conta
    processor.process([telemetry(reading())])
    other = Conta.objects.create(name="Outra")
    world.gateway.conta = other
    world.gateway.save()
    processor.process([telemetry(reading(minute=1))])
    assert list(LeituraDispositivo.objects.order_by("time").values_list("conta_id", flat=True)) == [
        world.conta.id,
        other.id,
    ]


@pytest.mark.parametrize("change", ["registered", "deactivated"])
def test_a_changed_registration_takes_effect_within_the_caches_age(
    world: World, processor: TelemetryProcessor, change: str
) -> None:
    clock = Clock()
    processor._resolver._max_age, processor._resolver._clock = 3, clock
    if change == "registered":
        Dispositivo.objects.filter(pk=world.d01.pk).update(codigo="NEW")
    before, after = (0, 1) if change == "registered" else (1, 0)
    assert processor.process([telemetry(reading())]).stored == before
    Dispositivo.objects.filter(pk=world.d01.pk).update(
        codigo="D01", status="ATIVO" if change == "registered" else "INATIVO"
    )
    clock.time += 2.9
    assert processor.process([telemetry(reading(minute=1))]).stored == before
    clock.time += 0.1
    assert processor.process([telemetry(reading(minute=2))]).stored == after


@pytest.mark.parametrize(
    "change", ["DELETE FROM tds_new_dispositivo WHERE codigo = 'D01'", "DELETE FROM tds_new_gateway"]
)
def test_what_is_deleted_after_the_look_up_is_looked_up_again(
    world: World, processor: TelemetryProcessor, change: str
) -> None:
    processor._resolver._max_age = 1e9
    processor.process([message(topic=f"{PREFIX}/{MAC}/heartbeat")])  # in the cache now
    if "gateway" in change:
        execute("DELETE FROM tds_new_dispositivo")
    execute(change)
    processor.process([telemetry(reading(), reading("D02"))])
    expected = [("gateway_desconhecido", None)] if "gateway" in change else [("dispositivo_desconhecido", 0)]
    assert rejected() == expected
    assert len(stored()) == ("gateway" not in change)


def test_a_device_moved_to_another_gateway_is_not_stored_under_the_old_one(
    world: World, processor: TelemetryProcessor
) -> None:
    processor._resolver._max_age = 1e9
    processor.process([message(topic=f"{PREFIX}/{MAC}/heartbeat")])
    other = Gateway.objects.create(conta=Conta.objects.create(name="Outra"), codigo="GW-B", mac=OTHER_MAC)
    Dispositivo.objects.filter(pk=world.d01.pk).update(gateway=other, conta=other.conta)
    processor.process([telemetry(reading())])
    assert (stored(), rejected()) == ([], [("dispositivo_desconhecido", 0)])


def test_two_gateways_may_have_devices_of_one_code(world: World, processor: TelemetryProcessor) -> None:
    other = Gateway.objects.create(conta=Conta.objects.create(name="Outra"), codigo="GW-B", mac=OTHER_MAC)
    device = Dispositivo.objects.create(gateway=other, codigo="D01")
    processor.process(
        [telemetry(reading(valor=1)), telemetry(reading(valor=2), topic=f"{PREFIX}/{OTHER_MAC}/telemetry")]
    )
    assert LeituraDispositivo.objects.get(dispositivo=device).valor == 2
    assert LeituraDispositivo.objects.get(dispositivo=world.d01).valor == 1


def test_nothing_in_a_payload_chooses_the_conta(world: World, processor: TelemetryProcessor) -> None:
    other = Conta.objects.create(name="Outra")
    processor.process(
        [telemetry(reading(conta_id=other.id), conta_id=other.id, conta="Outra", gateway_id=99)]
    )
    assert LeituraDispositivo.objects.get().conta == world.conta


def test_a_message_without_readings_is_stored_and_answered(
    world: World, processor: TelemetryProcessor
) -> None:
    result = processor.process([message(payload(seq=4), TOPIC)])
    assert (result.answers, rejected()) == ([Answer(f"{PREFIX}/{MAC}/ack", 4, None, world.gateway.id)], [])
