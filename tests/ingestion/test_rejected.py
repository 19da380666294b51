"""What is rejected, written at a bounded cost: counts are exact, rows and copies of payloads are bounded."""

import hashlib
from collections import Counter
from typing import Any

import pytest

from tds_new.ingestion import rejected
from tds_new.ingestion.message import Message
from tds_new.ingestion.rejected import MAX_COPIED_BYTES, MAX_ROWS_PER_MESSAGE
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.models import Gateway, MensagemRejeitada, RejeicaoContador
from tests.support.ingestion import (
    PREFIX,
    World,
    clock,
    message,
    payload,
    processor,
    reading,
    telemetry,
    world,
)

__all__ = ["clock", "processor", "world"]

MANY = 2_000


def counted() -> dict[str, int]:
    return dict(RejeicaoContador.objects.values_list("motivo", "total"))


def again(one: Message, **how: Any) -> Message:
    """The same message as the broker delivers it a second time."""
    return Message(one.topic, one.payload, one.received_at, **(how or {"redelivered": True}))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is hashed from now on."""
    sizes: list[int] = []
    right = hashlib.blake2b

    def counting(data: bytes, **options: Any) -> Any:
        sizes.append(len(data))
        return right(data, **options)

    monkeypatch.setattr(rejected.hashlib, "blake2b", counting)
    return sizes


@pytest.mark.parametrize("how", [{}, {"redelivered": True}, {"retain": True}])
def test_a_payload_is_hashed_once_however_many_of_its_readings_are_bad(
    processor: TelemetryProcessor, hashed: list[int], how: dict[str, bool]
) -> None:
    content = payload(*[1] * (MANY // 2), *[reading("D99", 1)] * 100, pad="x" * 20_000)
    processor.process([message(content, **how)])
    large = [size for size in hashed if size >= len(content)]
    assert len(large) == 1
    assert len(hashed) < 4 * MAX_ROWS_PER_MESSAGE


def test_what_is_delivered_again_is_looked_up_once_for_each_reason(
    processor: TelemetryProcessor, hashed: list[int]
) -> None:
    many = telemetry(*[1] * (MANY - 20), *[reading("D99")] * 20)
    processor.process([many])
    before = counted(), MensagemRejeitada.objects.count()
    assert before == ({"esquema_invalido": MANY - 20, "dispositivo_desconhecido": 20}, 70)
    hashed.clear()
    processor.process([again(many), again(many, retain=True)])
    assert (counted(), MensagemRejeitada.objects.count()) == before
    assert len(hashed) == 2 * (1 + 4)  # two messages: the payload, and two rows for each reason


def test_what_is_delivered_again_is_known_after_its_older_rows_are_gone(
    world: World, processor: TelemetryProcessor
) -> None:
    processor._keep = 10
    many = telemetry(*[1] * MANY)
    processor.process([many])
    kept = MensagemRejeitada.objects.order_by("id").values_list("leitura_indice", flat=True)
    assert list(kept) == list(range(MAX_ROWS_PER_MESSAGE - 10, MAX_ROWS_PER_MESSAGE))
    processor.process([again(many)])
    assert counted() == {"esquema_invalido": MANY}


def test_only_readings_that_get_a_row_are_described(
    processor: TelemetryProcessor,
) -> None:
    """Of each kind: refused by the parser, by the registry, and by what is stored already."""
    processor.process([telemetry(*[reading(minute=n) for n in range(-55, 0)])])
    conflicts = [reading(valor=2, minute=n) for n in range(-55, 0)]
    result = processor.process([telemetry(*[1] * 55, *[reading("D99")] * 55, *conflicts)])
    described = Counter(row.refusal.reason.value for row in result.rejected_rows if row.refusal.detail)
    assert set(described.values()) == {MAX_ROWS_PER_MESSAGE}
    assert dict(result.rejected) == dict.fromkeys(described, 55) == counted()
    assert all(row.detalhe for row in MensagemRejeitada.objects.all())
    assert MensagemRejeitada.objects.count() == 3 * MAX_ROWS_PER_MESSAGE


def test_the_copies_of_a_large_message_are_bounded_but_each_reason_has_a_row(
    processor: TelemetryProcessor,
) -> None:
    content = payload(
        *[1] * 500, *[reading("D99")] * 100, reading(valor="x"), reading(unidade="m³"), pad="x" * 40_000
    )
    processor.process([message(content)])
    rows = Counter(MensagemRejeitada.objects.values_list("motivo", flat=True))
    assert rows.pop("esquema_invalido") == MAX_COPIED_BYTES // len(content)
    assert rows == dict.fromkeys(("dispositivo_desconhecido", "valor_invalido", "unidade_invalida"), 1)
    assert counted() == {
        "esquema_invalido": 500,
        "dispositivo_desconhecido": 100,
        "valor_invalido": 1,
        "unidade_invalida": 1,
    }
    processor.process([message(content, redelivered=True)])
    assert counted()["esquema_invalido"] == 500


def test_messages_of_many_gateways_at_once_are_counted_for_each(
    world: World, processor: TelemetryProcessor
) -> None:
    """A batch of bad readings of many: a row for each would be 40,000."""
    gateways = Gateway.objects.bulk_create(
        Gateway(conta=world.conta, codigo=f"GW-{n}", mac=f"aa:bb:cc:dd:00:{n:02x}") for n in range(20)
    )
    batch = [
        message(payload(*[1] * MANY), f"{PREFIX}/{gateway.mac}/telemetry", retain=n % 2 == 0)
        for n, gateway in enumerate(gateways)
    ]
    processor.process(batch)
    assert {row.gateway_id: row.total for row in RejeicaoContador.objects.all()} == dict.fromkeys(
        [gateway.id for gateway in gateways], MANY
    )
    assert MensagemRejeitada.objects.count() == 20 * MAX_ROWS_PER_MESSAGE
    processor.process([again(one) for one in batch])
    assert sum(RejeicaoContador.objects.values_list("total", flat=True)) == 20 * MANY
