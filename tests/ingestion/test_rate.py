"""A gateway that floods is limited; the others are not."""

import pytest

from tds_new.ingestion import rate, rejected
from tds_new.ingestion.rate import (
    BURST_SECONDS,
    FREE_BYTES,
    FREE_SECONDS,
    READINGS_BURST_SECONDS,
    GatewayBudget,
    Limits,
)
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


def allows(budget: GatewayBudget, gateway_id: int, size: int = 100) -> bool:
    return not budget.take(budget.account(gateway_id, budget.clock()), size)


def test_a_burst_is_a_minutes_worth_and_then_the_rate_counts() -> None:
    clock = Clock()
    budget = GatewayBudget(Limits(messages=2), clock)
    assert [allows(budget, 1) for _ in range(2 * BURST_SECONDS + 1)] == [True] * 2 * BURST_SECONDS + [False]
    clock.time += 1
    assert [allows(budget, 1) for _ in range(3)] == [True, True, False]
    clock.time += 10_000
    assert (
        sum(allows(budget, 1) for _ in range(1_000)) == 2 * BURST_SECONDS
    )  # silence does not save up more than a burst


def test_each_gateway_has_its_own_allowance() -> None:
    budget = GatewayBudget(Limits(messages=1), Clock())
    assert sum(allows(budget, 1) for _ in range(100)) == BURST_SECONDS
    assert allows(budget, 2)


@pytest.mark.parametrize("limit", [0, 1_000])
def test_a_rate_of_zero_does_not_limit(limit: float) -> None:
    budget = GatewayBudget(Limits(limit, limit, limit, limit, limit), Clock())
    assert all(allows(budget, 1) for _ in range(1_000))


# A limit, and what a message is charged of it: good readings, bytes, bad readings, processor time. It is just
# what the limit allows in a second.
COSTS = {
    "readings": (Limits(readings=900), (900, 60_000, 0, 0.003)),
    "bytes": (Limits(bytes=60_000 - FREE_BYTES), (0, 60_000, 1, 0.0)),
    "bad readings": (Limits(refusals=2_000), (0, 60_000, 2_000, 0.0)),
    "processor time": (Limits(seconds=0.02 - FREE_SECONDS), (0, 1_000, 0, 0.02)),
}


@pytest.mark.parametrize("what", COSTS)
def test_each_quantity_has_a_burst_and_then_its_rate(what: str) -> None:
    clock = Clock()
    limits, cost = COSTS[what]
    budget = GatewayBudget(limits, clock)

    def taken(tries: int) -> int:
        """Count how many messages are taken; each is charged."""
        count = 0
        for _ in range(tries):
            account = budget.account(1, clock())
            if said := budget.take(account, cost[1]):
                assert what in said
            else:
                count += 1
                account.charge(*cost)
        return count

    seconds = READINGS_BURST_SECONDS if what == "readings" else BURST_SECONDS
    assert taken(1_000) in (seconds, seconds + 1)
    assert taken(1_000) == 0
    clock.time += 10
    assert taken(1_000) in (9, 10, 11)
    assert not budget.take(budget.account(2, clock()), 60_000)


def test_one_message_may_use_more_than_is_left_and_the_next_ones_wait_for_it() -> None:
    clock = Clock()
    budget = GatewayBudget(Limits(refusals=10), clock)
    account = budget.account(1, clock())
    account.charge(0, 100, 2 * 10 * BURST_SECONDS, 0)
    clock.time += BURST_SECONDS - 1
    assert not allows(budget, 1)
    clock.time += 2
    assert allows(budget, 1)


def test_a_message_larger_than_the_burst_waits_for_a_full_bucket_and_not_for_ever() -> None:
    clock = Clock()
    budget = GatewayBudget(Limits(bytes=100), clock)
    assert allows(budget, 1, 60_000)
    budget.account(1, clock()).charge(0, 60_000, 0, 0)
    assert not allows(budget, 1, 60_000)
    clock.time += 600
    assert allows(budget, 1, 60_000)


def test_readings_that_are_stored_pay_for_bytes_refusals_and_processor_time() -> None:
    """A usual reading takes less than it pays for; what one message does not need is not saved up."""
    budget = GatewayBudget(Limits(1e6, 1e6, 1e3, 1e3, 1.0), Clock())
    account = budget.account(1, 1_000.0)
    before = account.bytes, account.refusals, account.seconds
    account.charge(250, 250 * 120, 250, 250 * 40e-6)
    assert (account.bytes, account.refusals, account.seconds) == before
    account.charge(0, 5_000, 1, 0.001)
    assert (account.bytes, account.refusals, round(account.seconds, 6)) == (
        before[0] - 5_000 + 1024,
        before[1] - 1,
        round(before[2] - 0.0009, 6),
    )


def test_copies_of_a_payload_are_taken_from_the_upper_quarter_only() -> None:
    budget = GatewayBudget(Limits(bytes=100), Clock())
    account = budget.account(1, 1_000.0)
    assert [budget.take_copies(account, 500) for _ in range(5)] == [True] * 3 + [False] * 2
    assert allows(budget, 1, 4_500)


def test_the_accounts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "MAX_ACCOUNTS", 100)
    budget = GatewayBudget(Limits(messages=1), Clock())
    assert all(allows(budget, number) for number in range(1_000))
    assert len(budget._accounts) <= 100


def test_what_is_over_the_rate_is_rejected_counted_and_not_answered(world: World) -> None:
    Dispositivo.objects.create(
        gateway=Gateway.objects.create(conta=world.conta, codigo="GW-B", mac=OTHER_MAC), codigo="D01"
    )
    flood = [telemetry(reading(minute=-n), seq=n) for n in range(BURST_SECONDS + 5)]
    other = telemetry(reading("D01", 7, 1), topic=f"{PREFIX}/{OTHER_MAC}/telemetry")
    with connect("test") as session:
        result = TelemetryProcessor(session, limits=Limits(messages=1), clock=Clock()).process(
            [*flood, other]
        )
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
        processor = TelemetryProcessor(session, limits=Limits(messages=1), clock=Clock())
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
