"""A gateway that floods is limited; the others are not."""

import pytest

from tds_new.ingestion import rejected
from tds_new.ingestion.rate import BURST_SECONDS, GatewayRate
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
    message,
    reading,
    stored,
    telemetry,
    world,
)

__all__ = ["world"]


def test_a_burst_is_a_minutes_worth_and_then_the_rate_counts() -> None:
    clock = Clock()
    rate = GatewayRate(2, clock)
    assert [rate.allows(1) for _ in range(2 * BURST_SECONDS + 1)] == [True] * 2 * BURST_SECONDS + [False]
    clock.time += 1
    assert [rate.allows(1) for _ in range(3)] == [True, True, False]
    clock.time += 10_000
    assert (
        sum(rate.allows(1) for _ in range(1_000)) == 2 * BURST_SECONDS
    )  # silence does not save up more than a burst


def test_each_gateway_has_its_own_allowance() -> None:
    rate = GatewayRate(1, Clock())
    assert sum(rate.allows(1) for _ in range(100)) == BURST_SECONDS
    assert rate.allows(2)


@pytest.mark.parametrize("rate", [0, 1_000])
def test_a_rate_of_zero_does_not_limit(rate: float) -> None:
    assert all(GatewayRate(rate, Clock()).allows(1) for _ in range(1_000))


def test_what_is_over_the_rate_is_rejected_counted_and_not_answered(world: World) -> None:
    Dispositivo.objects.create(
        gateway=Gateway.objects.create(conta=world.conta, codigo="GW-B", mac=OTHER_MAC), codigo="D01"
    )
    flood = [telemetry(reading(minute=-n), seq=n) for n in range(BURST_SECONDS + 5)]
    other = telemetry(reading("D01", 7, 1), topic=f"{PREFIX}/{OTHER_MAC}/telemetry")
    with connect("test") as session:
        result = TelemetryProcessor(session, gateway_rate=1, clock=Clock()).process([*flood, other])
    assert (result.stored, dict(result.rejected)) == (BURST_SECONDS + 1, {"limite_excedido": 5})
    assert len(stored()) == result.stored
    assert RejeicaoContador.objects.get(motivo="limite_excedido").total == 5
    assert {answer.topic for answer in result.answers} == {f"{TOPIC.removesuffix('telemetry')}ack"}
    assert [answer.seq for answer in result.answers] == list(range(BURST_SECONDS))


def test_a_flood_is_kept_up_to_the_number_kept_and_then_of_each_batch_a_sample_while_all_is_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither another gateway's few, nor what is rejected for another reason, is sampled."""
    monkeypatch.setattr(rejected, "SAMPLE", 3)
    Gateway.objects.create(conta=world.conta, codigo="GW-B", mac=OTHER_MAC)
    heartbeat, other = f"{PREFIX}/{MAC}/heartbeat", f"{PREFIX}/{OTHER_MAC}/heartbeat"

    def kept(topic: str, motivo: str = "limite_excedido") -> list[bytes]:
        rows = MensagemRejeitada.objects.filter(topico=topic, motivo=motivo).order_by("id")
        return [bytes(payload) for payload in rows.values_list("payload", flat=True)]

    with connect("test") as session:
        processor = TelemetryProcessor(session, gateway_rate=1, clock=Clock())
        processor._keep = 10
        allowed = [message(b"[]") for _ in range(BURST_SECONDS)]
        processor.process([*allowed, *[message(b"%d" % n, heartbeat) for n in range(7)]])
        assert kept(heartbeat) == [b"%d" % n for n in range(7)]  # more than a sample, but there is room
        processor.process([message(b"%d" % n, heartbeat) for n in range(7, 14)])
        assert kept(heartbeat) == [b"%d" % n for n in range(4, 14)]
        processor.process([message(b"%d" % n, heartbeat) for n in range(14, 21)])
        assert kept(heartbeat) == [b"%d" % n for n in (*range(7, 14), 18, 19, 20)]
        processor.process(
            [
                *[message(b"{}", other) for _ in range(BURST_SECONDS)],
                *[message(b"%d" % n, other) for n in range(7)],
            ]
        )
        assert kept(other) == [b"%d" % n for n in range(7)]
    assert len(kept(TOPIC, "esquema_invalido")) == 10
    totals = dict(
        RejeicaoContador.objects.values_list("gateway__mac", "total", named=False).filter(
            motivo="limite_excedido"
        )
    )
    assert totals == {MAC: 21, OTHER_MAC: 7}
