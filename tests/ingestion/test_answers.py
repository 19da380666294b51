"""Bounded answers: full speed while nobody hoards, little for whoever may be the cause otherwise."""

from collections import Counter
from random import Random

import pytest

from tds_new.ingestion.answers import (
    CREDIT,
    EPOCH_REPORTS,
    FEW,
    POOL,
    REPORT_TIMEOUT,
    SETTLE_TIME,
    TOO_MANY,
    TRUST,
    TRUST_CHANCE,
    AnswerCredit,
)
from tests.support.ingestion import Clock

pytestmark = pytest.mark.once

INTERVAL = 10.0  # seconds between two reports of the broker
HONEST, HOSTILE, SECOND = 1, 2, 3


class Broker:
    """A broker that stores the answers of hostile gateways for ever, and reports how many they are."""

    def __init__(self, chance: float = 1.0) -> None:
        self.clock = Clock()
        self.credit = AnswerCredit(self.clock, lambda: chance)
        self.hoarded = 0
        self.retained = 15_000
        self.noise = 0
        self.given: Counter[int] = Counter()

    def report(self) -> None:
        """Let an interval pass, and report."""
        self.clock.time += INTERVAL
        self.credit.record_report()
        self.credit.record_stored(self.hoarded + self.retained + self.noise + 500, 500)
        self.credit.record_retained(self.retained)
        self.clock.time += SETTLE_TIME
        self.given.clear()

    def send(self, gateway_id: int, messages: int, *, hoards: bool = False) -> int:
        """Return how many of a gateway's messages are answered: none after the first that is not."""
        given = 0
        while given < messages and self.credit.allows(gateway_id):
            given += 1
        self.given[gateway_id] += given
        self.hoarded += given * hoards
        return given


def test_without_reports_nothing_is_bounded() -> None:
    credit = AnswerCredit(Clock())
    assert all(credit.allows(HONEST) for _ in range(2 * POOL))


def test_while_nobody_hoards_a_backlog_is_answered_at_full_speed() -> None:
    broker = Broker()
    for _ in range(20):
        broker.report()
        assert broker.send(HONEST, 10_000) == 10_000
    assert not broker.credit.hoarding


def test_a_hostile_gateway_gets_what_the_pool_has_and_then_nothing_while_others_are_served() -> None:
    broker = Broker()
    broker.report()
    broker.send(HOSTILE, 10 * POOL, hoards=True)
    assert broker.hoarded == POOL + CREDIT
    for number in range(60):
        broker.report()
        assert broker.send(HOSTILE, 10_000, hoards=True) == 0
        assert broker.send(HONEST, 10) == 10, number
    assert broker.credit.hoarding
    assert broker.credit.withheld > 0


def test_many_hostile_gateways_get_their_credit_and_a_little_trust() -> None:
    broker = Broker(chance=TRUST_CHANCE / 2)  # every gateway is trusted at every epoch
    broker.report()
    hostile = range(100, 120)
    for _ in range(30 * EPOCH_REPORTS):  # an hour
        for gateway in hostile:
            broker.send(gateway, 10_000, hoards=True)
        broker.report()
    assert broker.hoarded <= POOL + len(hostile) * (CREDIT + 30 * TRUST)


def test_nothing_is_given_on_trust_once_too_much_is_stored() -> None:
    broker = Broker(chance=0.0)
    broker.hoarded = TOO_MANY
    broker.report()
    broker.send(HOSTILE, 1_000, hoards=True)
    before = broker.hoarded
    for _ in range(10 * EPOCH_REPORTS):
        broker.report()
        broker.send(HOSTILE, 1_000, hoards=True)
    assert broker.hoarded == before


@pytest.mark.parametrize("pace", [1, 5])  # messages in 10 s
@pytest.mark.parametrize("noise", [0, 20])
def test_an_honest_gateway_is_served_for_hours_beside_hostile_ones(pace: int, noise: int) -> None:
    broker = Broker()
    broker.credit = AnswerCredit(broker.clock, Random(5).random)
    broker.report()
    served = 0
    for number in range(100 * EPOCH_REPORTS):
        for gateway in (HOSTILE, SECOND):
            broker.send(gateway, 1_000, hoards=True)
        served += broker.send(HONEST, pace)
        broker.noise = noise * (number % 3)
        broker.report()
    assert served > 0.95 * pace * 100 * EPOCH_REPORTS


def test_a_gateway_in_doubt_clears_itself_once_it_takes_its_answers() -> None:
    broker = Broker(chance=0.0)
    broker.report()
    broker.send(HONEST, 5_000)  # as the hostile one begins
    broker.send(HOSTILE, 10 * POOL, hoards=True)
    broker.report()
    assert broker.send(HONEST, 100) == 0
    for _ in range(4 * EPOCH_REPORTS):
        broker.report()
        broker.send(HONEST, 10)
    broker.report()
    assert broker.send(HONEST, 10) == 10


def test_once_the_hoard_is_gone_everybody_begins_anew() -> None:
    broker = Broker()
    broker.report()
    broker.send(HOSTILE, 10 * POOL, hoards=True)
    broker.report()
    broker.hoarded = FEW
    broker.report()
    assert not broker.credit.hoarding
    assert broker.send(HOSTILE, 1_000) == 1_000


def test_figures_that_are_not_repeated_stay_and_reports_that_end_bound_nothing() -> None:
    broker = Broker()
    broker.hoarded = 2 * FEW
    broker.report()
    broker.clock.time += INTERVAL
    broker.credit.record_report()  # the same figures
    broker.clock.time += SETTLE_TIME
    assert broker.send(HOSTILE, 2 * CREDIT) == CREDIT
    broker.clock.time += REPORT_TIMEOUT
    assert broker.send(HOSTILE, 2 * CREDIT) == 2 * CREDIT
